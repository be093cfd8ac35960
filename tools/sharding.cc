#include "tools/sharding.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardswarm {
namespace {

void name_files(WeightFiles& files, std::string_view stem, int total_digits) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    files[i].first = files.size() == 1 ? fmt::format("{}.safetensors", stem)
                                       : fmt::format("{}-{:05}-of-{:0{}}.safetensors", stem, i + 1,
                                                     files.size(), total_digits);
  }
}

}  // namespace

WeightFiles split_by_rule(std::vector<PlannedTensor> tensors, const SplitRule& rule) {
  WeightFiles files(1);
  std::uint64_t counted = 0;  // in the last file
  for (PlannedTensor& planned : tensors) {
    const bool full = rule.close_when_full ? counted >= rule.shard_bytes
                                           : counted + planned.counted_bytes > rule.shard_bytes;
    const bool cut = rule.shard_bytes > 0 && (full || planned.starts_file);
    if (cut && !files.back().second.empty()) {
      files.emplace_back();
      counted = 0;
    }
    counted += planned.counted_bytes;
    files.back().second.push_back(std::move(planned.tensor));
  }
  name_files(files, "model", rule.total_digits);
  return files;
}

WeightFiles split_evenly(std::vector<SyntheticTensor> tensors, std::uint32_t count,
                         std::string_view stem) {
  std::uint64_t total = 0;
  for (const SyntheticTensor& tensor : tensors) total += tensor_bytes(tensor);
  WeightFiles files(std::max(1U, count));
  name_files(files, stem, 5);
  std::uint64_t before = 0;
  for (SyntheticTensor& tensor : tensors) {
    // `before` * files may exceed 64 bits only beyond 2^44 bytes and 2^20 files.
    const auto file = std::min<std::uint64_t>(
        files.size() - 1, before * files.size() / std::max<std::uint64_t>(1, total));
    before += tensor_bytes(tensor);
    files[file].second.push_back(std::move(tensor));
  }
  return files;
}

}  // namespace shardswarm
