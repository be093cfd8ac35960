// What the plain files of a model are, by their names and sizes: which come with every part of the
// model, which are weights of another format, and what a selection left out. The tables are in
// file_roles.cc; docs/selection.md prints them for users.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "piece/manifest.h"
#include "piece/selection.h"

namespace shardswarm {

enum class FileRole : std::uint8_t {
  kTensors,        // safetensors that hold the model's tensors: a selection's parts decide
  kSecondCopy,     // safetensors that the index beside them does not name
  kConfiguration,  // configuration, tokenizer, code: comes with every part, whatever its size
  kSmall,          // anything else up to limits::kSmallFileBytesMax: comes with every part
  kLarge,          // anything else beyond that: comes only when it is named
  kOtherFormat,    // weights of another format, or half of a pair that such weights consist of:
                   // comes only when it is named, however small it is
};

// The role of every file, by FileIndex. A role depends on the other files, too: `model.xml` is
// weights if `model.bin` stands beside it.
std::vector<FileRole> file_roles(const ManifestRoot& root);

// Whether a directory with these files holds weights of any format: else it is hardly a checkpoint.
bool has_weights(const ManifestRoot& root);

inline bool comes_with_every_part(FileRole role) {
  return role == FileRole::kConfiguration || role == FileRole::kSmall;
}

// One file that a selection left out, for people and programs.
struct LeftOut {
  std::string path;
  std::uint64_t bytes = 0;
  WhyLeftOut why = WhyLeftOut::kOtherFormat;
  friend bool operator==(const LeftOut&, const LeftOut&) = default;
};

// All files that a selection left out.
struct LeftOutReport {
  std::vector<LeftOut> files;  // by path
  std::uint64_t bytes = 0;     // of all of them
  // The flags that bring them beside what the selection brings already: "--files '*.gguf'". Empty
  // without files.
  std::string flags;
};
// Without the files of which every piece is in `here`, the pieces of a directory: they were left
// out by this selection, and brought by an earlier one.
LeftOutReport report_left_out(const ResolvedSelection& resolved, const Manifest& manifest,
                              const PieceSet& here);
inline LeftOutReport report_left_out(const ResolvedSelection& resolved, const Manifest& manifest) {
  return report_left_out(resolved, manifest, PieceSet(manifest.piece_count()));
}

// "other_format", "large", "second_copy", "component": stable, for programs.
std::string_view why_name(WhyLeftOut why);
// "weights of another format", …: for people.
std::string_view why_text(WhyLeftOut why);

}  // namespace shardswarm
