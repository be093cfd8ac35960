// Reads tests/piece/families/*.json: tensor names of real model families, with what a pipeline
// stage needs of them. tests/piece/families/README.md describes the format.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "piece/manifest.h"
#include "piece/safetensors.h"

namespace shardswarm::test {

// A tensor of a family's checkpoint, with its whole name.
struct FamilyTensor {
  std::string name;
  Dtype dtype = Dtype::kBF16;
  std::vector<std::uint64_t> shape;
};

// What stages of one stack need outside the stack's layers. Each entry is a glob over tensor names
// (glob_match); the tensors that match are the expectation, no more and no fewer.
struct StackNeeds {
  std::uint32_t layers = 0;         // that stages are made of, without MTP layers behind them
  std::vector<std::string> first;   // the stage that has layer 0, but not the last layer
  std::vector<std::string> middle;  // a stage with neither the first nor the last layer
  std::vector<std::string> last;    // the stage that has the last layer, but not layer 0
};

struct Family {
  std::string name;
  std::string config;  // the facts of its config.json that the fixture states, as JSON text
  std::vector<FamilyTensor> tensors;
  std::string main;  // the stack that --layers means when no --stack is given
  std::map<std::string, StackNeeds> stacks;
};

// All families, by file name. Throws std::runtime_error with the file and the cause when a file
// does not have the form that the README describes.
const std::vector<Family>& families();

// Whether one of the globs names the tensor.
bool named(const std::vector<std::string>& globs, const std::string& tensor);

// "layers.{0-2,5}.w" -> layers.0.w, layers.1.w, layers.2.w, layers.5.w. Throws std::runtime_error
// when braces do not hold numbers and ranges.
std::vector<std::string> expanded(const std::string& pattern);

// The family as a model of one file, "model.safetensors", beside a config.json that holds
// Family::config. Its pieces have no digests: it is for outlines and selections, not for transfer.
Manifest manifest_of(const Family& family);

}  // namespace shardswarm::test
