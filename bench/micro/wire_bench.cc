// What talking costs: frame headers, sets of pieces as control frames, DATA through a session.
#include <benchmark/benchmark.h>

#include <cstring>
#include <optional>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

void count_bytes(benchmark::State& state, std::size_t each) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(each));
}

void EncodeFrameHeader(benchmark::State& state) {
  FrameHeader header{.length = limits::kDataBytesMax, .type = 0x40, .handle = 1};
  for (auto _ : state) {
    ++header.piece;
    benchmark::DoNotOptimize(encode_frame_header(header));
  }
  count_bytes(state, limits::kFrameHeaderBytes);
}
BENCHMARK(EncodeFrameHeader);

void DecodeFrameHeader(benchmark::State& state) {
  const auto bytes = encode_frame_header({.length = 100, .type = 0x40, .handle = 1, .piece = 7});
  for (auto _ : state) {
    const FrameHeader header = decode_frame_header(bytes);
    benchmark::DoNotOptimize(check_frame_header(header));
  }
  count_bytes(state, bytes.size());
}
BENCHMARK(DecodeFrameHeader);

// Runs of one piece each, as of a node that has every `apart`th.
std::vector<PieceRun> scattered(std::uint32_t runs, std::uint32_t apart) {
  std::vector<PieceRun> pieces;
  pieces.reserve(runs);
  for (std::uint32_t i = 0; i < runs; ++i) pieces.push_back({PieceIndex(i * apart), 1});
  return pieces;
}

// Arguments: runs, pieces from one to the next (2: a bitmap is shorter, 100: runs are).
void EncodeHave(benchmark::State& state) {
  const auto pieces = scattered(static_cast<std::uint32_t>(state.range(0)),
                                static_cast<std::uint32_t>(state.range(1)));
  message::Bytes out;
  for (auto _ : state) {
    out.clear();
    message::append_piece_list(out, FrameType::kHave, 1, pieces, {});
    benchmark::DoNotOptimize(out.data());
  }
  count_bytes(state, out.size());
}
BENCHMARK(EncodeHave)->Args({64, 2})->Args({64, 100})->Args({50'000, 2})->Args({50'000, 100});

void DecodeHave(benchmark::State& state) {
  const auto pieces = scattered(static_cast<std::uint32_t>(state.range(0)),
                                static_cast<std::uint32_t>(state.range(1)));
  message::Bytes frame;
  message::append_piece_list(frame, FrameType::kHave, 1, pieces, {});
  const auto header = decode_frame_header(std::span(frame).first<limits::kFrameHeaderBytes>());
  const auto body = std::span(frame).subspan(limits::kFrameHeaderBytes, header.length);
  for (auto _ : state) {
    auto list = message::decode_piece_list(FrameType::kHave, body);
    if (!list) state.SkipWithError(list.error().message.c_str());
    benchmark::DoNotOptimize(list);
  }
  count_bytes(state, body.size());
}
BENCHMARK(DecodeHave)->Args({64, 2})->Args({64, 100})->Args({50'000, 2})->Args({50'000, 100});

// All output of one session into another; payload is taken from `piece` and copied once, which a
// socket would do. Events go to `on_event`.
template <class F>
void pump(Session& from, Session& to, std::span<const std::byte> piece, F&& on_event) {
  for (Output output = from.next_output(); !std::holds_alternative<std::monostate>(output);
       output = from.next_output()) {
    std::span<const std::byte> bytes;
    if (const auto* plain = std::get_if<OutputBytes>(&output)) {
      bytes = plain->bytes;
    } else {
      const auto& extent = std::get<OutputExtent>(output);
      bytes = piece.subspan(extent.offset, extent.length);
    }
    const std::size_t size = bytes.size();
    while (!bytes.empty()) {
      std::size_t taken = 0;
      for (const auto span : to.receive_spans()) {
        const std::size_t n = std::min(span.size(), bytes.size());
        if (n > 0) std::memcpy(span.data(), bytes.data(), n);
        bytes = bytes.subspan(n);
        taken += n;
      }
      to.received(taken);
      while (auto event = to.next_event()) on_event(*event);
      if (taken == 0) return;
    }
    from.sent(size);
    while (from.next_event()) {
    }
  }
}

void SessionData(benchmark::State& state) {
  const std::vector<std::byte> piece(limits::kPieceBytesMax, std::byte{5});
  std::vector<std::byte> room(piece.size());
  Hello one_hello;
  Hello other_hello;
  one_hello.node_id.bytes[0] = std::byte{1};
  other_hello.node_id.bytes[0] = std::byte{2};
  Session one(one_hello, std::nullopt);
  Session other(other_hello, std::nullopt);
  const auto ignore = [](const SessionEvent&) {};
  pump(one, other, {}, ignore);
  pump(other, one, {}, ignore);
  const Channel channel = one.open(ModelId{});
  other.open(ModelId{});
  pump(one, other, {}, ignore);
  pump(other, one, {}, ignore);
  std::uint32_t index = 0;
  std::int64_t ended = 0;
  for (auto _ : state) {
    one.send_piece(channel, PieceIndex(index), static_cast<std::uint32_t>(piece.size()));
    index = (index + 1) % 1000;
    pump(one, other, piece, [&](const SessionEvent& event) {
      if (std::holds_alternative<event::PieceBegin>(event)) other.accept_piece(room);
      if (std::holds_alternative<event::PieceEnd>(event)) ++ended;
    });
  }
  if (ended != state.iterations()) state.SkipWithError("a piece did not arrive");
  count_bytes(state, piece.size());
}
BENCHMARK(SessionData)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace shardswarm
