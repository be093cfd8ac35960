// What the manifest costs: of 2,000 pieces (a model of 2 GB) and of 774,000 (Llama-3.1-405B).
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "piece/manifest.h"

namespace shardswarm {
namespace {

constexpr std::uint32_t kPiecesOfFile = 4'000;

struct Model {
  ManifestRoot root;
  std::vector<Blob> lists;  // by file
  std::size_t bytes = 0;    // of the lists
};

// Plain files of 4,000 full pieces, the last one shorter; digests are made up.
Model model_of(std::uint32_t pieces) {
  Model model;
  for (std::uint32_t first = 0; first < pieces; first += kPiecesOfFile) {
    const std::uint32_t count = std::min(kPiecesOfFile, pieces - first);
    std::vector<std::byte> list;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t number = first + i;
      const Digest digest = sha256(std::as_bytes(std::span(&number, 1)));
      list.insert(list.end(), digest.bytes.begin(), digest.bytes.end());
    }
    std::string number = std::to_string(first);
    number.insert(0, 9 - number.size(), '0');
    FileEntry file;
    file.path = "part-" + number + ".bin";
    file.size = count * limits::kPieceBytesMax;
    file.pieces = count;
    file.piece_list_digest = sha256(list);
    model.root.files.push_back(std::move(file));
    model.bytes += list.size();
    model.lists.push_back(std::make_shared<const std::vector<std::byte>>(std::move(list)));
  }
  return model;
}

void EncodeManifest(benchmark::State& state) {
  const Model model = model_of(static_cast<std::uint32_t>(state.range(0)));
  std::size_t size = 0;
  for (auto _ : state) {
    const auto bytes = encode_root(model.root);
    if (!bytes) state.SkipWithError(bytes.error().message.c_str());
    size = bytes->size();
    benchmark::DoNotOptimize(bytes);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
}
BENCHMARK(EncodeManifest)->Arg(2'000)->Arg(774'000)->Unit(benchmark::kMicrosecond);

// Root and piece lists, checked as they are when they came from a peer.
void DecodeManifest(benchmark::State& state) {
  const Model model = model_of(static_cast<std::uint32_t>(state.range(0)));
  const auto root = encode_root(model.root);
  for (auto _ : state) {
    auto manifest = Manifest::from_root(*root);
    for (std::uint32_t i = 0; manifest && i < model.lists.size(); ++i) {
      const auto added = manifest->add_piece_list(FileIndex(i), model.lists[i]);
      if (!added) state.SkipWithError(added.error().message.c_str());
    }
    if (!manifest) state.SkipWithError(manifest.error().message.c_str());
    benchmark::DoNotOptimize(manifest);
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<std::int64_t>(root->size() + model.bytes));
}
BENCHMARK(DecodeManifest)->Arg(2'000)->Arg(774'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace shardswarm
