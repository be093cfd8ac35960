// Which stacks a model has: the first step of make_outline().
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "piece/outline_roles.h"
#include "piece/outline_steps.h"

namespace shardswarm {
namespace {

// Lives for one call of find_stacks(), on its caller's thread.
class StackFinder {
 public:
  StackFinder(const Manifest& manifest, Outline& outline)
      : manifest_(manifest), outline_(outline) {}

  void run() {
    find_components();
    find_tensors();
    find_shared_blocks();
    order_stacks();
    measure_layers();
  }

 private:
  // What may become a stack.
  struct Found {
    std::string_view name;  // without the folder
    std::uint32_t component = 0;
    std::uint32_t numbered = 0;
    std::uint64_t bytes = 0;
    std::uint32_t tensors = 0;
    Module module = Module::kModel;
  };
  // Layers that store a shared block, and layers that use it.
  struct Sharing {
    std::set<std::uint32_t> stored;
    std::set<std::uint32_t> used;
  };

  const TensorInfo& info(const OutlineTensor& tensor) const { return info_of(manifest_, tensor); }

  void find_components() {
    std::map<std::string_view, std::uint32_t> folders;
    const auto& files = manifest_.root().files;
    for (const FileEntry& file : files) {
      if (file.kind == FileKind::kTensors) folders.try_emplace(folder_of(file.path), 0);
    }
    for (auto& [path, index] : folders) {
      index = static_cast<std::uint32_t>(outline_.components.size());
      outline_.components.push_back({.folder = std::string(path)});
    }
    reads_tokens_.resize(folders.size());
    for (const FileEntry& file : files) {
      const bool tensors = file.kind == FileKind::kTensors;
      component_of_.push_back(tensors ? folders.at(folder_of(file.path)) : 0);
    }
  }

  void find_tensors() {
    // By component: its stacks by their names; kNoStack for words whose numbers are no layers.
    std::vector<std::map<std::string_view, std::uint32_t>> by_name(outline_.components.size());
    for (std::uint32_t f = 0; f < manifest_.file_count(); ++f) {
      if (manifest_.file(FileIndex(f)).kind != FileKind::kTensors) continue;
      const auto entries = manifest_.tensors(FileIndex(f));
      for (std::uint32_t t = 0; t < entries.size(); ++t) {
        if (manifest_.is_copy(FileIndex(f), TensorIndex(t))) continue;
        OutlineTensor tensor{
            .file = FileIndex(f), .tensor = TensorIndex(t), .component = component_of_[f]};
        const std::string_view name = entries[t].info.name;
        const auto unit = unit_of(name);
        if (unit) {
          const std::string_view words = name.substr(0, unit->stack.size());
          tensor.stack = find_or_add(words, tensor.component, by_name[tensor.component]);
        }
        if (tensor.stack != kNoStack) {
          Found& stack = found_[tensor.stack];
          stack.numbered = std::max(stack.numbered, unit->index + 1);
          stack.bytes += entries[t].info.bytes();
          ++stack.tensors;
          tensor.layer = unit->index;
        } else if (role_of(name) == Role::kTokenEmbedding && module_of(name) == Module::kModel) {
          reads_tokens_[tensor.component] = true;
        }
        outline_.tensors.push_back(tensor);
      }
    }
  }

  std::uint32_t find_or_add(std::string_view words, std::uint32_t component,
                            std::map<std::string_view, std::uint32_t>& by_name) {
    const auto [it, added] = by_name.try_emplace(words, kNoStack);
    if (added && !makes_no_stack(words)) {
      it->second = static_cast<std::uint32_t>(found_.size());
      found_.push_back({.name = words, .component = component, .module = module_of(words)});
    }
    return it->second;
  }

  // Takes the blocks that layers share out of the layers that store them.
  void find_shared_blocks() {
    const auto rows = shared_block_rows();
    std::map<std::pair<std::uint32_t, std::size_t>, Sharing> sharings;  // by stack and row
    for (const OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack == kNoStack) continue;
      const std::string_view words = inside(tensor);
      for (std::size_t row = 0; row < rows.size(); ++row) {
        const bool stored = has_words(words, rows[row].words);
        if (!stored && !has_words(words, rows[row].user)) continue;
        Sharing& sharing = sharings[{tensor.stack, row}];
        (stored ? sharing.stored : sharing.used).insert(tensor.layer);
      }
    }
    for (OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack == kNoStack) continue;
      for (std::size_t row = 0; row < rows.size(); ++row) {
        const auto it = sharings.find({tensor.stack, row});
        if (it == sharings.end() || std::ranges::includes(it->second.stored, it->second.used)) {
          continue;
        }
        if (!has_words(inside(tensor), rows[row].words)) continue;
        tensor.shared_block = true;
        Found& stack = found_[tensor.stack];
        stack.bytes -= info(tensor).bytes();
        --stack.tensors;
        break;
      }
    }
  }

  std::string_view inside(const OutlineTensor& tensor) const {
    const std::string_view name = info(tensor).name;
    return name.substr(inside_layer(name, found_[tensor.stack].name.size()));
  }

  void order_stacks() {
    std::vector<std::uint32_t> order(found_.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    // Components that read tokens have a language model: see outline.h on main stacks.
    const auto beside = [&](const Found& found) {
      return reads_tokens_[found.component] && found.module != Module::kModel;
    };
    std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
      const Found& one = found_[a];
      const Found& other = found_[b];
      if (beside(one) != beside(other)) return beside(other);
      if (one.bytes != other.bytes) return one.bytes > other.bytes;
      return std::tie(one.component, one.name) < std::tie(other.component, other.name);
    });
    std::vector<std::uint32_t> place(order.size(), kNoStack);
    std::uint32_t left = kNumberedLayersMax;
    for (const std::uint32_t i : order) {
      if (outline_.stacks.size() == kStacksMax) break;
      const Found& found = found_[i];
      if (found.numbered > left) continue;
      left -= found.numbered;
      place[i] = static_cast<std::uint32_t>(outline_.stacks.size());
      Component& component = outline_.components[found.component];
      if (component.main == kNoStack) component.main = place[i];
      outline_.stacks.push_back({.name = component.folder + std::string(found.name),
                                 .component = found.component,
                                 .numbered = found.numbered,
                                 .bytes = found.bytes,
                                 .tensors = found.tensors,
                                 .module = found.module});
    }
    for (Stack& stack : outline_.stacks) {
      stack.main_words = static_cast<std::uint32_t>(
          common_words(bare_name(outline_, stack), main_name(outline_, stack.component)));
    }
    for (OutlineTensor& tensor : outline_.tensors) place_tensor(tensor, place);
  }

  static void place_tensor(OutlineTensor& tensor, const std::vector<std::uint32_t>& place) {
    if (tensor.stack != kNoStack) tensor.stack = place[tensor.stack];
    if (tensor.shared_block) tensor.home = std::exchange(tensor.stack, kNoStack);
    if (tensor.stack == kNoStack) tensor.layer = 0;
  }

  void measure_layers() {
    std::vector<std::vector<bool>> mtp;
    for (Stack& stack : outline_.stacks) {
      stack.layer_bytes.resize(stack.numbered);
      mtp.emplace_back(stack.numbered);
    }
    for (const OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack == kNoStack) continue;
      outline_.stacks[tensor.stack].layer_bytes[tensor.layer] += info(tensor).bytes();
      if (marks_mtp_layer(info(tensor).name)) mtp[tensor.stack][tensor.layer] = true;
    }
    for (std::size_t i = 0; i < mtp.size(); ++i) {
      Stack& stack = outline_.stacks[i];
      stack.layers = stack.numbered;
      while (stack.layers > 0 && mtp[i][stack.layers - 1]) --stack.layers;
      // There is nothing before them that they could stand behind.
      if (stack.layers == 0) stack.layers = stack.numbered;
    }
  }

  const Manifest& manifest_;
  Outline& outline_;
  std::vector<std::uint32_t> component_of_;  // by file
  std::vector<bool> reads_tokens_;  // by component: it has a token embedding of a language model
  std::vector<Found> found_;
};

}  // namespace

std::size_t inside_layer(std::string_view name, std::size_t stack_name_bytes) {
  return std::min(name.find('.', stack_name_bytes + 1), name.size() - 1) + 1;
}

void find_stacks(const Manifest& manifest, Outline& outline) {
  StackFinder(manifest, outline).run();
}

}  // namespace shardswarm
