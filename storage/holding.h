// What a fetched directory is meant to hold: the selections that were fetched into it and dropped
// from it, and for the compact layout its files with the tensors in them. Kept as
// `.shardswarm/holding`; format: spec/compact.md, section "Holding".
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "piece/manifest.h"
#include "piece/selection.h"
#include "piece/tensor_set.h"

namespace shardswarm {

// A safetensors file of the compact layout.
struct CompactFile {
  std::uint32_t number = 0;  // in the ledger and below incoming/; never used twice in a directory
  std::string path;          // its final name
  std::vector<TensorRows> tensors;  // in the order in which they stand in it
  friend bool operator==(const CompactFile&, const CompactFile&) = default;
};

// A completed change of what the directory holds.
struct HoldingStep {
  bool drop = false;  // else fetched
  Selection selection;
  friend bool operator==(const HoldingStep&, const HoldingStep&) = default;
};

struct Holding {
  std::uint32_t next_number = 0;        // greater than every number given so far
  std::vector<CompactFile> files;       // no tensor stands in two of them
  std::vector<CompactFile> superseded;  // still there; others hold their tensors, or will
  std::vector<HoldingStep> steps;
  friend bool operator==(const Holding&, const Holding&) = default;
};

// Empty when there is none. kMalformed when it is damaged or does not fit the manifest.
Result<Holding> load_holding(const std::filesystem::path& meta, const Manifest& manifest);
// Replaces the earlier one at once.
Result<void> save_holding(const std::filesystem::path& meta, const Holding& holding);

// The tensors that the steps amount to. Dropping layers leaves what the layers that stay need
// beside them (embedding, norm, head, unknown tensors); dropping tensors by name does not.
// REQUIRES: the headers of all kTensors files are there.
Result<TensorSet> replay(const std::vector<HoldingStep>& steps, const Manifest& manifest,
                         const Outline& outline);
// The same of a directory's whole holding; nothing where no step is recorded, or where the header
// of a kTensors file is not there.
std::optional<TensorSet> completed_tensors(const Holding& holding, const Manifest& manifest,
                                           const Outline& outline);

}  // namespace shardswarm
