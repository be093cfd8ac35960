// What the files behind selection.h share: error texts, which files come along, and the last step
// of resolving.
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

bool named_by(const FileEntry& file, const std::vector<std::string>& globs);

// A small plain file that is no weights of another format: every selection brings it.
bool comes_along(const FileEntry& file);

// Rows with the files that come along, and pieces of both. `whole`: tensors files without tensors,
// too. kUsage for a glob that matches no file.
Result<ResolvedSelection> with_files(TensorSet tensors, const std::vector<std::string>& globs,
                                     bool whole, const Manifest& manifest);

}  // namespace shardswarm
