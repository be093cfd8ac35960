#include "wire/blob_codec.h"

#include <fmt/format.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <string>

#include "base/limits.h"

namespace shardswarm {
namespace {

// A tenth of a real header at 800 MB/s. The levels that come to a sixteenth do 4 MB/s.
constexpr int kLevel = 3;
constexpr int kWindowLogMax = std::bit_width(limits::kCompressedBlobBytesMax) - 1;
static_assert(std::uint64_t{1} << kWindowLogMax == limits::kCompressedBlobBytesMax);
constexpr std::uint64_t kFirstOutputBytes = 128 * limits::kKiB;

// Of a frame; the library's decoder would take skippable frames and those of its own past, too.
constexpr std::array<std::byte, 4> kMagic = {std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f},
                                             std::byte{0xfd}};

struct FreeDecoder {
  void operator()(ZSTD_DCtx* decoder) const { ZSTD_freeDCtx(decoder); }
};

Result<void> check_step(std::size_t result) {
  if (ZSTD_isError(result) == 0) return {};
  const bool window = ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge;
  return fail(window ? Errc::kLimit : Errc::kMalformed,
              std::string("its zstd frame cannot be read: ") + ZSTD_getErrorName(result));
}

}  // namespace

std::optional<std::vector<std::byte>> compress_blob(std::span<const std::byte> blob) {
  if (blob.empty() || blob.size() > limits::kCompressedBlobBytesMax) return std::nullopt;
  std::vector<std::byte> frame(blob.size() - 1);
  // Fails where it does not fit: then it would not be shorter.
  const std::size_t size =
      ZSTD_compress(frame.data(), frame.size(), blob.data(), blob.size(), kLevel);
  if (ZSTD_isError(size) != 0) return std::nullopt;
  frame.resize(size);
  frame.shrink_to_fit();
  return frame;
}

Result<std::vector<std::byte>> decompress_blob(std::span<const std::byte> frame,
                                               std::uint64_t bytes_max) {
  bytes_max = std::min(bytes_max, limits::kCompressedBlobBytesMax);
  if (frame.size() < kMagic.size() || !std::ranges::equal(frame.first<kMagic.size()>(), kMagic)) {
    return fail(Errc::kMalformed, "it does not begin with a zstd frame");
  }
  const std::unique_ptr<ZSTD_DCtx, FreeDecoder> decoder(ZSTD_createDCtx());
  if (!decoder) return fail(Errc::kInternal, "no memory to decompress a blob");
  if (auto set =
          check_step(ZSTD_DCtx_setParameter(decoder.get(), ZSTD_d_windowLogMax, kWindowLogMax));
      !set) {
    return std::unexpected(set.error());
  }
  std::vector<std::byte> content;
  ZSTD_inBuffer in{frame.data(), frame.size(), 0};
  ZSTD_outBuffer out{nullptr, 0, 0};
  std::size_t more = 1;  // 0: the frame has ended
  while (more != 0) {
    if (out.pos == content.size()) {
      // One byte beyond the limit tells what is too long.
      content.resize(std::min(bytes_max + 1, std::max(kFirstOutputBytes, 2 * out.size)));
      out.dst = content.data();
      out.size = content.size();
    }
    const bool all_in = in.pos == in.size;
    const std::size_t out_before = out.pos;
    more = ZSTD_decompressStream(decoder.get(), &out, &in);
    if (auto step = check_step(more); !step) return std::unexpected(step.error());
    if (out.pos > bytes_max) {
      return fail(Errc::kLimit, fmt::format("it unfolds to more than {} bytes", bytes_max));
    }
    if (more != 0 && all_in && out.pos == out_before) {
      return fail(Errc::kMalformed, "its zstd frame is cut short");
    }
  }
  if (in.pos != in.size) return fail(Errc::kMalformed, "something follows its zstd frame");
  if (out.pos == 0) return fail(Errc::kMalformed, "its zstd frame is empty");
  content.resize(out.pos);
  content.shrink_to_fit();
  return content;
}

}  // namespace shardswarm
