// `.shardswarm/converted`, which decides that a conversion has happened, and says what is left to
// do. Format: spec/compact.md, CPT-41.
#pragma once

#include <array>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "piece/digest.h"

namespace shardswarm {

// What of .shardswarm/ belongs to a layout; the ledger is last.
inline constexpr std::array<std::string_view, 5> kOfLayout = {"cut", "original", "incoming",
                                                              "holding", "ledger"};

struct ConversionMarker {
  std::set<std::string> moved;    // files of the new layout
  std::set<std::string> taken;    // of kOfLayout: what the new layout has
  std::set<std::string> removed;  // files of the old layout alone
};

// Below the directory.
std::filesystem::path conversion_marker_path();

// `root`: the open directory. Durable when it returns.
Result<void> write_conversion_marker(int root, const ModelId& model,
                                     const ConversionMarker& marker);
// kMalformed when it is damaged or not of the model whose root is in the directory, kForeign when
// it is a link.
Result<ConversionMarker> read_conversion_marker(int root, const std::filesystem::path& directory);

}  // namespace shardswarm
