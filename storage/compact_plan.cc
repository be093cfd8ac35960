#include "storage/compact_plan.h"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/text.h"
#include "storage/compact_files.h"
#include "storage/placement.h"

namespace shardswarm {
namespace {

// Each has a header of at least 4 KiB, kept in memory while the directory is open.
constexpr std::size_t kCompactFilesMax = std::size_t{1} << 14;
constexpr std::size_t kStackNameMax = 100;  // as kBaseNameMax

using TensorKey = std::pair<FileIndex, TensorIndex>;

TensorKey key_of(const TensorRows& rows) { return {rows.file, rows.tensor}; }

// A stack's name as part of a file name: other characters become '_', a hash keeps them apart.
std::string file_part(std::string_view stack) {
  std::string part;
  bool changed = stack.size() > kStackNameMax;
  for (const char c : stack.substr(0, kStackNameMax)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    part += plain ? c : '_';
    changed |= !plain;
  }
  if (changed) part += "-" + to_hex(sha256(std::as_bytes(std::span(stack)))).substr(0, 8);
  return part;
}

class Planner {
 public:
  Planner(const Manifest& manifest, const Outline& outline, const Holding& before)
      : manifest_(manifest), outline_(outline) {
    after_.steps = before.steps;
    after_.next_number = std::max(before.next_number, first_compact_number(manifest));
    candidates_ = before.files;
    candidates_.insert(candidates_.end(), before.superseded.begin(), before.superseded.end());
    for (const FileEntry& file : manifest.root().files) {
      if (file.kind != FileKind::kTensors) paths_.insert(file.path);
    }
    for (const CompactFile& file : candidates_) paths_.insert(file.path);
    const ComponentBases bases = component_bases(manifest);
    stems_.reserve(outline.components.size());
    for (const Component& component : outline.components) {
      stems_.push_back(component.folder + bases.at(component.folder));
    }
  }

  Result<Holding> run(const TensorSet& needed,
                      const std::function<bool(const CompactFile&)>& stands, bool purge) {
    if (auto checked = check(needed); !checked) return std::unexpected(checked.error());
    // What stands first; of files with the same tensors the one that holds most.
    std::ranges::sort(candidates_, {}, [&](const CompactFile& file) {
      return std::tuple(!stands(file), -static_cast<std::ptrdiff_t>(file.tensors.size()),
                        file.number);
    });
    std::vector<CompactFile> others;
    for (CompactFile& file : candidates_) {
      (fits(file, needed) && !overlaps(file) ? take(std::move(file))
                                             : others.push_back(std::move(file)));
    }
    if (auto added = add_new(needed); !added) return std::unexpected(added.error());
    if (after_.files.size() > kCompactFilesMax) {
      return fail(Errc::kUsage, "the compact layout would have more than " +
                                    std::to_string(kCompactFilesMax) +
                                    " files: fetch it with --layout mirror");
    }
    for (CompactFile& file : others) {
      if (purge || overlaps(file)) {
        after_.superseded.push_back(std::move(file));
      } else {
        take(std::move(file));
      }
    }
    std::ranges::sort(after_.files, {}, &CompactFile::number);
    std::ranges::sort(after_.superseded, {}, &CompactFile::number);
    return std::move(after_);
  }

 private:
  Result<void> check(const TensorSet& needed) const {
    constexpr std::string_view kInstead = ": fetch it with --layout mirror";
    std::map<std::pair<std::string_view, std::string_view>, std::string_view> names;
    for (std::size_t i = 0; i < needed.size(); ++i) {
      const std::string& name = info_of(manifest_, needed[i]).name;
      if (i > 0 && key_of(needed[i - 1]) == key_of(needed[i])) {
        return fail(Errc::kUsage, "tensor " + shown(name) +
                                      " is selected in parts that are not adjacent, which one "
                                      "tensor of a compact directory cannot hold" +
                                      std::string(kInstead));
      }
      const std::string& path = manifest_.file(needed[i].file).path;
      const std::string_view folder = folder_of(path);
      if (!simdjson::validate_utf8(folder)) {
        return fail(Errc::kUsage, "the folder " + shown(folder) +
                                      " has a name that the index of a compact directory cannot "
                                      "hold" +
                                      std::string(kInstead));
      }
      // Files of tensor-parallel ranks: of others the index, or the first file, has it.
      const auto [other, fresh] = names.try_emplace({folder, name}, path);
      if (!fresh) {
        return fail(Errc::kUsage, "tensor " + shown(name) + " stands in two files of this model, " +
                                      shown(other->second) + " and " + shown(path) +
                                      ", each with a rank's part of it" + std::string(kInstead));
      }
    }
    return {};
  }

  static bool fits(const CompactFile& file, const TensorSet& needed) {
    return std::ranges::all_of(file.tensors, [&](const TensorRows& rows) {
      return std::ranges::binary_search(needed, rows);
    });
  }
  bool overlaps(const CompactFile& file) const {
    return std::ranges::any_of(
        file.tensors, [&](const TensorRows& rows) { return taken_.contains(key_of(rows)); });
  }
  void take(CompactFile file) {
    for (const TensorRows& rows : file.tensors) taken_.insert(key_of(rows));
    after_.files.push_back(std::move(file));
  }

  Result<void> add_new(const TensorSet& needed) {
    std::map<std::string, std::vector<TensorRows>> by_name;
    for (const TensorRows& rows : needed) {
      if (!taken_.contains(key_of(rows))) by_name[unit_path(rows)].push_back(rows);
    }
    for (auto& [path, tensors] : by_name) {
      sort_for_writing(tensors, manifest_);
      std::string name = unused(path);
      if (!check_path(name)) {
        return fail(Errc::kUsage, "the path " + shown(name) +
                                      " would be too long: fetch it with --layout mirror");
      }
      take(
          {.number = after_.next_number++, .path = std::move(name), .tensors = std::move(tensors)});
    }
    return {};
  }

  // Without its ".safetensors".
  std::string unit_path(const TensorRows& rows) const {
    const auto at = std::ranges::lower_bound(
        outline_.tensors, key_of(rows), {},
        [](const OutlineTensor& tensor) { return std::pair(tensor.file, tensor.tensor); });
    const std::string& stem = stems_[at->component];
    if (at->stack == kNoStack) return stem + "-outside";
    const std::string_view stack = std::string_view(outline_.stacks[at->stack].name)
                                       .substr(outline_.components[at->component].folder.size());
    return stem + "-" + file_part(stack) + "-" + std::to_string(at->layer);
  }

  std::string unused(const std::string& path) {
    std::string tried = path + ".safetensors";
    for (std::uint32_t n = 2; !paths_.insert(tried).second; ++n) {
      tried = path + "-" + std::to_string(n) + ".safetensors";
    }
    return tried;
  }

  const Manifest& manifest_;
  const Outline& outline_;
  Holding after_;
  std::vector<CompactFile> candidates_;
  std::set<TensorKey> taken_;
  std::set<std::string> paths_;
  std::vector<std::string> stems_;  // by component
};

}  // namespace

Result<Holding> plan_compact(const Manifest& manifest, const Outline& outline,
                             const Holding& before, const TensorSet& needed,
                             const std::function<bool(const CompactFile&)>& stands, bool purge) {
  return Planner(manifest, outline, before).run(needed, stands, purge);
}

}  // namespace shardswarm
