// What the files behind selection.h share: error texts, and the last step of resolving.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "piece/selection.h"

namespace shardswarm {

std::unexpected<Error> usage(std::string message);

// "8-15", or "7" for one.
std::string range_text(std::uint32_t first, std::uint32_t last);
// "2/3": a part and the number of parts.
std::string part_text(std::uint32_t index, std::uint32_t count);

bool named_by(const FileEntry& file, const std::vector<std::string>& globs);

// The stack of this name; kUsage naming those that the model has.
Result<std::uint32_t> stack_named(const Outline& outline, const std::string& name);

// Which files come with rows of tensors.
enum class FilesToo : std::uint8_t {
  kOfAPart,       // configuration and small ones
  kOfAllTensors,  // the same, and tensors files without tensors
  kAll,
};
// Rows with the files that come along and those that globs name, and pieces of both. kUsage for a
// glob that matches no file.
Result<ResolvedSelection> with_files(TensorSet tensors, const std::vector<std::string>& globs,
                                     FilesToo too, const Manifest& manifest);

}  // namespace shardswarm
