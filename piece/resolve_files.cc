// The last step of resolving a selection: from rows and file globs to pieces and files.
#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "piece/file_roles.h"
#include "piece/selection.h"
#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

void add_whole(FileIndex file, const Manifest& manifest, std::vector<TensorRows>& rows) {
  const auto entries = manifest.tensors(file);
  for (std::uint32_t t = 0; t < entries.size(); ++t) {
    if (manifest.is_copy(file, TensorIndex(t))) continue;
    rows.push_back({file, TensorIndex(t), {0, row_count(entries[t].info)}});
  }
}

// Whether these are all rows of all tensors of kTensors files. Copies count for nothing.
bool complete(const TensorSet& set, const Manifest& manifest) {
  std::size_t tensors = 0;
  for (std::uint32_t f = 0; f < manifest.file_count(); ++f) {
    if (manifest.file(FileIndex(f)).kind != FileKind::kTensors) continue;
    tensors += manifest.tensors(FileIndex(f)).size() - manifest.file(FileIndex(f)).copies.size();
  }
  return set.size() == tensors && std::ranges::all_of(set, [&](const TensorRows& run) {
           const TensorInfo& info = info_of(manifest, run);
           return run.rows == Rows{0, row_count(info)};
         });
}

Result<void> check_rows(const TensorSet& set, const Manifest& manifest) {
  for (const TensorRows& run : set) {
    const std::uint32_t f = run.file.value;
    if (f >= manifest.file_count() || manifest.file(run.file).kind != FileKind::kTensors ||
        run.tensor.value >= manifest.tensors(run.file).size() ||
        manifest.is_copy(run.file, run.tensor)) {
      return usage("file " + std::to_string(f) + " has no tensor " +
                   std::to_string(run.tensor.value) + " that could be selected");
    }
    const TensorInfo& info = info_of(manifest, run);
    const std::uint64_t rows = row_count(info);
    if (run.rows.end > rows) {
      return usage("row " + std::to_string(run.rows.end - 1) + " lies outside " + info.name +
                   ": it has " + std::to_string(rows));
    }
    if (run.rows != Rows{0, rows} && !row_bytes(info)) {
      return usage("rows of " + info.name + " are not whole bytes: select the whole tensor");
    }
  }
  return {};
}

// At most ten of these paths: "'a', 'b' and 7 more".
std::string listed(const std::vector<std::string_view>& paths) {
  constexpr std::size_t kMost = 10;
  std::string text;
  for (std::size_t i = 0; i < std::min(paths.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + shown(paths[i]);
  }
  if (paths.size() > kMost) text += " and " + std::to_string(paths.size() - kMost) + " more";
  return text;
}

// Whoever writes a part of a name is told the glob that would match it.
std::unexpected<Error> unmatched_glob(const std::string& glob, const Manifest& manifest) {
  const std::size_t first = glob.find_first_not_of('*');
  const std::string core =
      first == std::string::npos ? "" : glob.substr(first, glob.find_last_not_of('*') + 1 - first);
  const std::string wide = "*" + core + "*";
  std::vector<std::string_view> all;
  std::vector<std::string_view> like;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const std::string& path = manifest.file(FileIndex(i)).path;
    all.push_back(path);
    if (glob_match(wide, path)) like.push_back(path);
  }
  const std::string none = "file glob '" + glob + "' matches none of the model's " +
                           count_text(manifest.file_count(), "file");
  if (like.empty()) return usage(none + ": " + listed(all));
  return usage(none + ", whose whole path has to match: '" + wide + "' matches " + listed(like));
}

// The files that do not come, with the reason of each that has one.
std::vector<LeftOutFile> left_out(const ResolvedSelection& result,
                                  const std::vector<FileRole>& roles, const Manifest& manifest) {
  std::set<std::string_view> folders;  // of which some tensors come
  for (const TensorRows& run : result.tensors) {
    folders.insert(folder_of(manifest.file(run.file).path));
  }
  std::vector<LeftOutFile> files;
  for (std::uint32_t i = 0; i < roles.size(); ++i) {
    if (result.files[i]) continue;
    const FileIndex file(i);
    switch (roles[i]) {
      case FileRole::kOtherFormat:
        files.push_back({file, WhyLeftOut::kOtherFormat});
        break;
      case FileRole::kLarge:
        files.push_back({file, WhyLeftOut::kLarge});
        break;
      case FileRole::kSecondCopy:
        files.push_back({file, WhyLeftOut::kSecondCopy});
        break;
      case FileRole::kTensors:
        // Of a component of which something comes, and without any tensors, nothing was left out
        // that was not left out on purpose.
        if (folders.empty() || folders.contains(folder_of(manifest.file(file).path))) break;
        files.push_back({file, WhyLeftOut::kComponent});
        break;
      case FileRole::kConfiguration:
      case FileRole::kSmall:
        break;  // they come with every part
    }
  }
  return files;
}

}  // namespace

Result<ResolvedSelection> with_files(TensorSet tensors, const std::vector<std::string>& globs,
                                     FilesToo too, const Manifest& manifest) {
  ResolvedSelection result{.pieces = PieceSet(manifest.piece_count())};
  const std::vector<FileRole> roles = file_roles(manifest.root());
  result.files.resize(manifest.file_count());
  std::vector<bool> matched(globs.size());
  std::vector<TensorRows> named_rows;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    const FileIndex index(i);
    const FileEntry& file = manifest.file(index);
    bool named = false;
    for (std::size_t g = 0; g < globs.size(); ++g) {
      if (glob_match(globs[g], file.path)) named = matched[g] = true;
    }
    const bool tensors_file = file.kind == FileKind::kTensors;
    const bool comes = too == FilesToo::kAll || comes_with_every_part(roles[i]) ||
                       (too == FilesToo::kOfAllTensors && tensors_file);
    if (!named && !comes) continue;
    result.files[i] = true;
    if (named && tensors_file) add_whole(index, manifest, named_rows);
    if (tensors_file) continue;
    result.pieces.insert(PieceRun{manifest.first_piece(index), file.pieces});
    result.bytes += file.size - file.header_bytes;
  }
  for (std::size_t g = 0; g < matched.size(); ++g) {
    if (matched[g]) continue;
    return unmatched_glob(globs[g], manifest);
  }
  if (!named_rows.empty()) tensors = unite(tensors, normalized(std::move(named_rows)));
  for (const TensorRows& run : tensors) {
    result.files[run.file.value] = true;
    insert_pieces(run, manifest, result.pieces);
  }
  result.bytes += bytes_of(tensors, manifest);
  result.everything = complete(tensors, manifest);
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    // One without tensors is not made unless the whole model is wanted.
    const bool tensors_file = manifest.file(FileIndex(i)).kind == FileKind::kTensors;
    if (tensors_file && !result.files[i]) result.everything = false;
  }
  result.tensors = std::move(tensors);
  result.left_out = left_out(result, roles, manifest);
  return result;
}

Result<ResolvedSelection> resolve_tensors(const TensorSet& tensors,
                                          const std::vector<std::string>& files,
                                          const Manifest& manifest) {
  TensorSet set = normalized(tensors);
  if (auto good = check_rows(set, manifest); !good) return std::unexpected(good.error());
  const FilesToo too = complete(set, manifest) ? FilesToo::kOfAllTensors : FilesToo::kOfAPart;
  return with_files(std::move(set), files, too, manifest);
}

}  // namespace shardswarm
