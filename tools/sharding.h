// How tensors are spread over files: the rules by which published checkpoints were cut.
// Plain functions: any thread may use them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tools/synthetic.h"

namespace shardswarm {

struct PlannedTensor {
  SyntheticTensor tensor;
  std::uint64_t counted_bytes = 0;  // what the rule counts for it
  bool starts_file = false;         // whatever room the file before has left
};

struct SplitRule {
  std::uint64_t shard_bytes = 0;  // 0: one file
  // The hub's libraries open the next file before a tensor that would take this one beyond
  // `shard_bytes` (false); others close a file once it reached them (true).
  bool close_when_full = false;
  int total_digits = 5;  // of n in model-0000i-of-n
};

// Tensors in the given order, file after file.
WeightFiles split_by_rule(std::vector<PlannedTensor> tensors, const SplitRule& rule);

// Consecutive tensors to each of `files` files, about the same bytes, named
// STEM-0000i-of-0000n.safetensors; STEM.safetensors if it is one.
WeightFiles split_evenly(std::vector<SyntheticTensor> tensors, std::uint32_t files,
                         std::string_view stem);

}  // namespace shardswarm
