// Which of a directory's safetensors files hold the model, which are another copy of it, and which
// are not what their name says. Decided by the names of files, the tensors in them and the indexes
// beside them alone, so that everybody who has these files makes the same manifest. The rules stand
// in spec/manifest.md, section "kinds".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "piece/manifest.h"
#include "storage/weight_index.h"

namespace shardswarm {

// A file whose name ends with ".safetensors", as it was found.
struct FoundWeights {
  enum class State : std::uint8_t {
    kGood,     // its header can be read, and its tensors fill it
    kAbsent,   // a link to nothing, or not readable
    kPointer,  // what Git LFS leaves in place of a file that was not pulled
    kShort,    // it ends before its header or its tensors do: the download was interrupted
    kOdd,      // anything else
  };
  std::string path;
  State state = State::kGood;
  std::string cause;                      // why it is not good, as "the header is not valid JSON"
  std::vector<std::string_view> tensors;  // of a good one, in the order of the manifest
};

// An index that could be read.
struct FoundIndex {
  std::string path;
  WeightMap map;
};

struct DecidedFile {
  FileKind kind = FileKind::kPlain;  // kPlain of all that are not good
  std::vector<TensorIndex> copies;   // ascending
};

struct FileKinds {
  std::vector<DecidedFile> files;     // one for each FoundWeights, in their order
  std::vector<std::string> warnings;  // one line each: what is stale, odd or left out
};

// REQUIRES: both are sorted by path. kMalformed, naming the file, the cause and what to do, when
// weights that the model needs are missing or damaged: sharing the rest would share half a model
// without anybody knowing.
Result<FileKinds> decide_kinds(const std::vector<FoundWeights>& found,
                               const std::vector<FoundIndex>& indexes);

}  // namespace shardswarm
