#include "storage/file_kinds.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/text.h"

namespace shardswarm {
namespace {

using State = FoundWeights::State;

// Where repositories keep the weights in the names and layout of their authors' own code (MAN-63a).
constexpr std::string_view kOriginal = "original/";

// "a/" of "a/b/".
std::string_view folder_above(std::string_view folder) {
  return folder_of(folder.substr(0, folder.size() - 1));
}

bool is_original(std::string_view folder) {
  return !folder.empty() && folder.substr(folder_above(folder).size()) == kOriginal;
}

std::string_view last_name(std::string_view path) { return path.substr(folder_of(path).size()); }

// Why weights are not what they should be, as the rest of a sentence that begins with their name.
std::string described(const FoundWeights& file) {
  if (file.state == State::kPointer) return "is a Git LFS pointer in place of the weights";
  if (file.state == State::kAbsent) return file.cause;
  return "cannot be read as safetensors (" + file.cause + ")";
}

std::string remedy(State state) {
  switch (state) {
    case State::kPointer:
      return "run `git lfs pull` there, then try again";
    case State::kAbsent:
      return "the model needs it: complete the download or give access to the file, then try again";
    case State::kShort:
      return "the download is incomplete: complete it, then try again";
    default:
      return "download it again, or move it out of the directory";
  }
}

std::unexpected<Error> needed(const FoundWeights& file) {
  return fail(Errc::kMalformed,
              shown(file.path) + " " + described(file) + ": " + remedy(file.state));
}

// All files of the directory. An index may name files in folders below its own.
using ByPath = std::map<std::string_view, const FoundWeights*>;

// Decides for the files of one folder. Lives for one call, on its caller's thread.
class Folder {
 public:
  Folder(std::string_view folder, const ByPath& by_path, FileKinds& kinds)
      : folder_(folder), by_path_(by_path), kinds_(kinds) {}

  void add(const FoundWeights& file, std::size_t index) {
    files_.push_back({.found = &file, .index = index, .name = weights_name(last_name(file.path))});
  }
  void add(const FoundIndex& index) { indexes_.push_back(&index); }

  // `good_above`: whether a folder that this one lies in has good weights. `all_spare`: whether all
  // of this one's are another copy.
  Result<void> run(bool good_above, bool all_spare) {
    if (auto chosen = choose_index(); !chosen) return chosen;
    if (auto checked = check_bad(good_above); !checked) return checked;
    for (File& file : files_) {
      if (file.found->state != State::kGood) continue;
      const bool spare = all_spare || is_spare(file);
      file.kind = spare ? FileKind::kSpareTensors : FileKind::kTensors;
    }
    share_out();
    for (const File& file : files_) {
      kinds_.files[file.index] = {.kind = file.kind, .copies = file.copies};
    }
    return {};
  }

  bool any_good() const {
    return std::ranges::any_of(files_,
                               [](const File& file) { return file.found->state == State::kGood; });
  }

 private:
  struct File {
    const FoundWeights* found = nullptr;
    std::size_t index = 0;  // among all that were found
    WeightsName name;
    FileKind kind = FileKind::kPlain;
    std::vector<TensorIndex> copies;
  };

  void warn(std::string text) { kinds_.warnings.push_back(std::move(text)); }

  const FoundWeights* find(std::string_view path) const {
    const auto file = by_path_.find(path);
    return file == by_path_.end() ? nullptr : file->second;
  }

  // What an index says beside what is there.
  struct Judged {
    std::size_t good = 0;     // files it names that are good
    std::size_t present = 0;  // files it names that are there, good or not
    std::string absent;       // one that it names and that is not good; empty: all are
    std::string lacking;      // one that it names and whose tensors no other good file has
  };

  Judged judge(const FoundIndex& index, const std::set<std::string_view>& tensors) const {
    std::map<std::string_view, bool> good;  // the files that it names
    for (const auto& [tensor, path] : index.map) good.try_emplace(path, false);
    Judged judged;
    for (auto& [path, is] : good) {
      const FoundWeights* file = find(path);
      is = file != nullptr && file->state == State::kGood;
      judged.good += is ? 1U : 0U;
      judged.present += file != nullptr ? 1U : 0U;
      if (!is && judged.absent.empty()) judged.absent = path;
    }
    for (const auto& [tensor, path] : index.map) {
      if (good[path] || tensors.contains(tensor)) continue;
      judged.lacking = path;
      break;
    }
    return judged;
  }

  // MAN-62: the first index all of whose files are there.
  Result<void> choose_index() {
    std::ranges::sort(indexes_, {}, [](const FoundIndex* index) {
      return std::pair(index_rank(*index_name(last_name(index->path))),
                       std::string_view(index->path));
    });
    std::set<std::string_view> tensors;
    if (!indexes_.empty()) {
      for (const File& file : files_) {
        tensors.insert(file.found->tensors.begin(), file.found->tensors.end());
      }
    }
    for (const FoundIndex* index : indexes_) {
      const Judged judged = judge(*index, tensors);
      if (judged.absent.empty() && judged.good > 0) {
        chosen_ = index;
        for (const auto& [tensor, path] : index->map) named_.insert(path);
        return {};
      }
      const bool lacks = !judged.lacking.empty();
      if (lacks && (judged.present > 0 || !any_good())) return incomplete(*index, judged.lacking);
      if (judged.absent.empty()) continue;  // it names nothing
      warn(shown(index->path) + " names " + shown(judged.absent) +
           ", which is not there, while the weights beside it are: the index is out of date and "
           "is passed over");
      if (lacks) continue;
      for (const auto& [tensor, path] : index->map) elsewhere_.insert(path);
    }
    return {};
  }

  std::unexpected<Error> incomplete(const FoundIndex& index, const std::string& lacking) const {
    if (const FoundWeights* file = find(lacking)) return needed(*file);
    return fail(Errc::kMalformed, shown(index.path) + " names " + shown(lacking) +
                                      ", which is not there: the download is incomplete; complete "
                                      "it, or remove the index if it is out of date");
  }

  // What is not good is passed over, unless the model needs it.
  Result<void> check_bad(bool good_above) {
    for (const File& file : files_) {
      const State state = file.found->state;
      if (state == State::kGood) continue;
      const bool lacking = state != State::kOdd && !any_good() && !good_above;
      const bool spare = elsewhere_.contains(file.found->path) || is_spare(file);
      if (!chosen_ && (lacking || (is_shard(file) && !spare))) return needed(*file.found);
      if (state == State::kAbsent) continue;  // the walk named it
      warn(shown(file.found->path) + " " + described(*file.found) +
           ": it is shared as plain bytes" +
           (state == State::kPointer ? "; `git lfs pull` brings the weights"
                                     : ", and none of its tensors can be selected"));
    }
    if (!chosen_) warn_of_gaps();
    return {};
  }

  // One of several numbered files, of which another is there.
  bool is_shard(const File& file) const {
    return file.name.shards > 1 && std::ranges::any_of(files_, [&](const File& other) {
             return &other != &file && same_series(file, other);
           });
  }
  static bool same_series(const File& a, const File& b) {
    return std::tie(a.name.base, a.name.variant, a.name.shards) ==
           std::tie(b.name.base, b.name.variant, b.name.shards);
  }

  // Without an index nothing but the numbers tells that a file is missing.
  void warn_of_gaps() {
    std::map<std::tuple<std::string, std::string, std::uint32_t>, std::set<std::uint32_t>> series;
    for (const File& file : files_) {
      if (file.name.shards < 2 || file.name.rank) continue;
      series[{file.name.base, file.name.variant, file.name.shards}].insert(file.name.shard);
    }
    for (const auto& [key, numbers] : series) {
      const auto& [base, variant, shards] = key;
      if (numbers.size() >= shards) continue;
      warn(std::to_string(numbers.size()) + " of the " + std::to_string(shards) + " files of " +
           shown(std::string(folder_) + base) +
           " are here, and no index tells what the others hold: the download may be incomplete");
    }
  }

  // MAN-63, MAN-64: another copy of the weights.
  bool is_spare(const File& file) const {
    if (chosen_) return !named_.contains(file.found->path);
    const auto beside = [&](auto&& fits) {
      return std::ranges::any_of(files_, [&](const File& other) {
        return &other != &file && other.found->state == State::kGood && fits(other);
      });
    };
    const auto is_adapter = [](const File& other) {
      return other.name.base.starts_with("adapter_model");
    };
    if (is_adapter(file)) return beside([&](const File& other) { return !is_adapter(other); });
    if (file.name.rank || file.name.base.starts_with("consolidated")) {
      return beside(
          [](const File& other) { return other.name.base == "model" && !other.name.rank; });
    }
    if (file.name.variant.empty()) return false;
    return beside([&](const File& other) {
      return other.name.base == file.name.base && other.name.variant.empty() &&
             (file.found->state != State::kGood || share_a_tensor(file, other));
    });
  }

  static bool share_a_tensor(const File& a, const File& b) {
    const std::set<std::string_view> names(a.found->tensors.begin(), a.found->tensors.end());
    return std::ranges::any_of(b.found->tensors,
                               [&](std::string_view name) { return names.contains(name); });
  }

  // MAN-65: of tensors of one name in several files one is the model's.
  void share_out() {
    struct Held {
      std::string_view name;
      bool mapped = false;  // the index says that it is this one
      bool usual = false;   // in a file whose name loaders look for
      File* file = nullptr;
      std::uint32_t tensor = 0;
    };
    std::vector<Held> all;
    for (File& file : files_) {
      if (file.kind != FileKind::kTensors || file.name.rank) continue;
      const bool usual = file.name.variant.empty() && file.name.shards == 0 &&
                         (file.name.base == "model" || file.name.base == "diffusion_pytorch_model");
      for (std::uint32_t t = 0; t < file.found->tensors.size(); ++t) {
        all.push_back({.name = file.found->tensors[t], .usual = usual, .file = &file, .tensor = t});
      }
    }
    if (chosen_) {
      for (Held& held : all) {
        const auto entry = chosen_->map.find(std::string(held.name));
        held.mapped = entry != chosen_->map.end() && entry->second == held.file->found->path;
      }
    }
    std::ranges::sort(all, {}, [](const Held& held) {
      return std::tuple(held.name, !held.mapped, !held.usual, held.file->index);
    });
    std::map<const File*, const File*> holders;  // of a file's copies: a file that has them instead
    for (std::size_t i = 1, first = 0; i < all.size(); ++i) {
      if (all[i].name != all[first].name) {
        first = i;
        continue;
      }
      all[i].file->copies.emplace_back(all[i].tensor);
      holders[all[i].file] = all[first].file;
    }
    for (File& file : files_) {
      if (file.copies.empty()) continue;
      std::ranges::sort(file.copies);
      const std::size_t copies = file.copies.size();
      const bool all_of_it = copies == file.found->tensors.size();
      if (all_of_it) {
        file.kind = FileKind::kSpareTensors;
        file.copies.clear();
      }
      if (chosen_) continue;  // it told which is meant
      warn((all_of_it ? "all" : std::to_string(copies)) + std::string(" tensors of ") +
           shown(file.found->path) + " are in " + shown(holders[&file]->found->path) +
           ", too: a part takes them from there" +
           (all_of_it ? "; --files brings the other file" : ""));
    }
  }

  std::string_view folder_;
  const ByPath& by_path_;
  FileKinds& kinds_;
  std::vector<File> files_;
  std::vector<const FoundIndex*> indexes_;
  const FoundIndex* chosen_ = nullptr;
  std::set<std::string_view> named_;  // files that the chosen index names
  std::set<std::string> elsewhere_;   // files whose tensors stale indexes name, and others have
};

}  // namespace

Result<FileKinds> decide_kinds(const std::vector<FoundWeights>& found,
                               const std::vector<FoundIndex>& indexes) {
  FileKinds kinds;
  kinds.files.resize(found.size());
  ByPath by_path;
  for (const FoundWeights& file : found) by_path.emplace(file.path, &file);
  std::map<std::string_view, Folder> folders;
  const auto folder = [&](std::string_view path) -> Folder& {
    return folders.try_emplace(folder_of(path), folder_of(path), by_path, kinds).first->second;
  };
  for (std::size_t i = 0; i < found.size(); ++i) folder(found[i].path).add(found[i], i);
  for (const FoundIndex& index : indexes) folder(index.path).add(index);
  for (auto& [path, each] : folders) {
    const bool above = std::ranges::any_of(folders, [&](const auto& other) {
      return other.first.size() < path.size() && path.starts_with(other.first) &&
             other.second.any_good();
    });
    const auto parent = is_original(path) ? folders.find(folder_above(path)) : folders.end();
    const bool all_spare = parent != folders.end() && parent->second.any_good();
    if (auto decided = each.run(above, all_spare); !decided) {
      return std::unexpected(decided.error());
    }
  }
  const auto good = std::ranges::find(found, State::kGood, &FoundWeights::state);
  if (!found.empty() && good == found.end()) return needed(found.front());
  return kinds;
}

}  // namespace shardswarm
