#include "wire/piece_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>

#include "wire/frame.h"

namespace shardswarm {
namespace {

// Room for runs in a control frame besides tags, lengths and the other fields of the message.
constexpr std::size_t kRunBytesMax = limits::kControlBytesMax - 64;
// A bitmap that does not end the set costs one more frame: header, handle, tags.
constexpr std::size_t kFrameCost = 32;

std::size_t varint_bytes(std::uint64_t value) {
  return std::max<std::size_t>(1, (static_cast<std::size_t>(std::bit_width(value)) + 6) / 7);
}

std::uint64_t end_of(const PieceRun& run) { return std::uint64_t{run.first.value} + run.count; }

}  // namespace

bool valid_runs(std::span<const PieceRun> runs) {
  std::uint64_t end = 0;
  for (const PieceRun& run : runs) {
    if (run.count == 0 || run.first.value < end || end_of(run) > limits::kPiecesMax) return false;
    end = end_of(run);
  }
  return true;
}

PieceRun PieceCutter::run(std::size_t index) const {
  const PieceRun& whole = runs_[index];
  if (index != at_) return whole;
  return {PieceIndex(whole.first.value + taken_), whole.count - taken_};
}

PieceCutter::Window PieceCutter::window() const {
  const std::uint64_t begin = run(at_).first.value;
  const std::uint64_t limit = begin + std::uint64_t{limits::kBitmapBytesMax} * 8;
  Window window;
  std::uint64_t previous_end = 0;
  std::size_t i = at_;
  for (; i < runs_.size() && run(i).first.value < limit; ++i) {
    const PieceRun current = run(i);
    window.run_bytes +=
        varint_bytes(current.first.value - previous_end) + varint_bytes(current.count);
    previous_end = end_of(current);
  }
  window.end = std::min(previous_end, limit);
  window.whole = i == runs_.size() && previous_end <= limit;
  window.bitmap_bytes = static_cast<std::size_t>((window.end - begin + 7) / 8);
  return window;
}

PieceChunk PieceCutter::next() {
  assert(!done());
  started_ = true;
  if (at_ == runs_.size()) return {};
  const Window ahead = window();
  const std::size_t bitmap_cost =
      ahead.bitmap_bytes + 1 + varint_bytes(run(at_).first.value) + (ahead.whole ? 0 : kFrameCost);
  return bitmap_cost < ahead.run_bytes ? take_bitmap(ahead) : take_runs();
}

PieceChunk PieceCutter::take_bitmap(const Window& window) {
  PieceChunk chunk;
  const std::uint32_t begin = run(at_).first.value;
  chunk.bitmap_first = begin;
  chunk.bitmap.resize(window.bitmap_bytes);
  while (at_ < runs_.size() && run(at_).first.value < window.end) {
    const PieceRun current = run(at_);
    const auto end = static_cast<std::uint32_t>(std::min(end_of(current), window.end));
    for (std::uint32_t piece = current.first.value; piece < end; ++piece) {
      const std::uint32_t bit = piece - begin;
      chunk.bitmap[bit / 8] |= std::byte{1} << (bit % 8);
    }
    if (end < end_of(current)) {
      taken_ += end - current.first.value;
      break;
    }
    ++at_;
    taken_ = 0;
  }
  return chunk;
}

PieceChunk PieceCutter::take_runs() {
  PieceChunk chunk;
  std::size_t bytes = 0;
  std::uint64_t previous_end = 0;
  for (; at_ < runs_.size(); ++at_, taken_ = 0) {
    const PieceRun current = run(at_);
    const auto gap = static_cast<std::uint32_t>(current.first.value - previous_end);
    bytes += varint_bytes(gap) + varint_bytes(current.count);
    if (bytes > kRunBytesMax) break;
    chunk.runs.push_back(gap);
    chunk.runs.push_back(current.count);
    previous_end = end_of(current);
  }
  return chunk;
}

namespace {

Result<std::vector<PieceRun>> decode_runs(std::span<const std::uint32_t> numbers) {
  if (numbers.size() % 2 != 0) {
    return fail(Errc::kProtocol, "its runs are not pairs of gap and length");
  }
  std::vector<PieceRun> runs;
  runs.reserve(numbers.size() / 2);
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < numbers.size(); i += 2) {
    const std::uint64_t first = end + numbers[i];
    const std::uint32_t count = numbers[i + 1];
    if (count == 0) return fail(Errc::kProtocol, "it has a run of no pieces");
    end = first + count;
    if (end > limits::kPiecesMax) {
      return fail(Errc::kProtocol, fmt::format("it names pieces beyond the {} a model may have",
                                               limits::kPiecesMax));
    }
    runs.push_back({PieceIndex(static_cast<std::uint32_t>(first)), count});
  }
  return runs;
}

Result<std::vector<PieceRun>> decode_bitmap(std::uint32_t first,
                                            std::span<const std::byte> bitmap) {
  if (bitmap.size() > limits::kBitmapBytesMax) {
    return fail(Errc::kProtocol, fmt::format("its bitmap has {} bytes: at most {}", bitmap.size(),
                                             limits::kBitmapBytesMax));
  }
  if (bitmap.back() == std::byte{0}) {
    return fail(Errc::kProtocol, "its bitmap ends in a byte without pieces");
  }
  const auto last_bits = std::to_integer<unsigned>(bitmap.back());
  const std::uint64_t end = std::uint64_t{first} + (bitmap.size() - 1) * 8 +
                            static_cast<unsigned>(std::bit_width(last_bits));
  if (end > limits::kPiecesMax) {
    return fail(Errc::kProtocol,
                fmt::format("it names pieces beyond the {} a model may have", limits::kPiecesMax));
  }
  std::vector<PieceRun> runs;
  const auto set = [&](std::uint64_t bit) {
    return (bitmap[bit / 8] & (std::byte{1} << (bit % 8))) != std::byte{0};
  };
  for (std::uint64_t bit = 0; bit < bitmap.size() * 8;) {
    if (!set(bit)) {
      ++bit;
      continue;
    }
    const std::uint64_t begin = bit;
    while (bit < bitmap.size() * 8 && set(bit)) ++bit;
    runs.push_back({PieceIndex(static_cast<std::uint32_t>(first + begin)),
                    static_cast<std::uint32_t>(bit - begin)});
  }
  return runs;
}

}  // namespace

Result<std::vector<PieceRun>> decode_pieces(std::span<const std::uint32_t> runs,
                                            std::uint32_t bitmap_first,
                                            std::span<const std::byte> bitmap) {
  if (!runs.empty() && !bitmap.empty()) {
    return fail(Errc::kProtocol, "it gives pieces both as runs and as a bitmap");
  }
  if (!bitmap.empty()) return decode_bitmap(bitmap_first, bitmap);
  if (bitmap_first != 0) return fail(Errc::kProtocol, "it has the start of a bitmap but no bitmap");
  return decode_runs(runs);
}

}  // namespace shardswarm
