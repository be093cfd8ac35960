// What the piece room costs at the size of the largest checkpoints.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "base/limits.h"
#include "piece/digest.h"
#include "piece/digest_lanes.h"
#include "piece/piece_set.h"
#include "piece/safetensors.h"
#include "piece/tiling.h"

namespace shardswarm {
namespace {

std::vector<std::byte> header_of(std::uint32_t tensors) {
  std::string json = "{";
  for (std::uint32_t i = 0; i < tensors; ++i) {
    if (i > 0) json += ",";
    json += "\"model.layers." + std::to_string(i / 1500) + ".mlp.experts." +
            std::to_string(i % 1500) +
            ".gate_proj.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[16,8]," + "\"data_offsets\":[" +
            std::to_string(i * 128) + "," + std::to_string((i + 1) * 128) + "]}";
  }
  json += "}";
  std::vector<std::byte> bytes(8 + json.size());
  const std::uint64_t length = json.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, json.data(), json.size());
  return bytes;
}

void ParseHeader(benchmark::State& state) {
  const auto bytes = header_of(static_cast<std::uint32_t>(state.range(0)));
  for (auto _ : state) {
    auto header = parse_safetensors_header(bytes);
    if (!header) state.SkipWithError(header.error().message.c_str());
    benchmark::DoNotOptimize(header);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(ParseHeader)->Arg(291)->Arg(92'000)->Unit(benchmark::kMillisecond);

void Tile(benchmark::State& state) {
  const std::uint64_t shape[] = {14'336, 4096};
  for (auto _ : state) benchmark::DoNotOptimize(tile_tensor(Dtype::kBF16, shape));
}
BENCHMARK(Tile);

void PieceSetDifference(benchmark::State& state) {
  const auto size = static_cast<std::uint32_t>(state.range(0));
  PieceSet wanted = PieceSet::full(size);
  PieceSet have(size);
  for (std::uint32_t i = 0; i < size; i += 3) have.insert(PieceIndex(i));
  for (auto _ : state) benchmark::DoNotOptimize(wanted - have);
}
BENCHMARK(PieceSetDifference)->Arg(2'000)->Arg(774'000)->Unit(benchmark::kMicrosecond);

void PieceSetRuns(benchmark::State& state) {
  const auto size = static_cast<std::uint32_t>(state.range(0));
  PieceSet have(size);
  for (std::uint32_t i = 0; i < size; i += 3) have.insert(PieceIndex(i));
  for (auto _ : state) benchmark::DoNotOptimize(have.runs());
}
BENCHMARK(PieceSetRuns)->Arg(2'000)->Arg(774'000)->Unit(benchmark::kMicrosecond);

void PieceSetNext(benchmark::State& state) {
  const auto size = static_cast<std::uint32_t>(state.range(0));
  PieceSet have(size);
  have.insert(PieceIndex(size - 1));
  for (auto _ : state) benchmark::DoNotOptimize(have.next(PieceIndex(0)));
}
BENCHMARK(PieceSetNext)->Arg(2'000)->Arg(774'000);

void HashPiece(benchmark::State& state) {
  const std::vector<std::byte> piece(limits::kPieceBytesMax, std::byte{7});
  for (auto _ : state) benchmark::DoNotOptimize(sha256(piece));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(piece.size()));
}
BENCHMARK(HashPiece)->Unit(benchmark::kMicrosecond);

void HashTwoPieces(benchmark::State& state) {
  const std::vector<std::byte> one(limits::kPieceBytesMax, std::byte{7});
  const std::vector<std::byte> other(limits::kPieceBytesMax, std::byte{8});
  const std::span<const std::byte> pieces[] = {one, other};
  Digest digests[2];
  for (auto _ : state) {
    sha256_each(pieces, digests);
    benchmark::DoNotOptimize(digests[0]);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(2 * one.size()));
}
BENCHMARK(HashTwoPieces)->Unit(benchmark::kMicrosecond);

void ChecksumPiece(benchmark::State& state) {
  const std::vector<std::byte> piece(limits::kPieceBytesMax, std::byte{7});
  for (auto _ : state) benchmark::DoNotOptimize(xxh3_64(piece));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(piece.size()));
}
BENCHMARK(ChecksumPiece)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace shardswarm
