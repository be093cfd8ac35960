#include "piece/outline.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "piece/outline_experts.h"
#include "piece/outline_roles.h"

namespace shardswarm {
namespace {

// A layer number beyond this is no layer number.
constexpr std::uint32_t kLayerMax = 100'000;

// Makes an outline in steps, each over all tensors once. Lives for one call of make_outline(), on
// its caller's thread.
class Outliner {
 public:
  explicit Outliner(const Manifest& manifest) : manifest_(manifest) {}

  Outline run() {
    find_components();
    find_tensors();
    order_stacks();
    measure_layers();
    find_experts();
    find_neighbours();
    find_sides();
    add_up_sides();
    return std::move(outline_);
  }

 private:
  const TensorInfo& info(const OutlineTensor& tensor) const {
    return manifest_.tensors(tensor.file)[tensor.tensor.value].info;
  }

  // Where the words within the layer begin in the name of a layer's tensor.
  std::size_t inside(const OutlineTensor& tensor) const {
    const Stack& stack = outline_.stacks[tensor.stack];
    const std::size_t bare = stack.name.size() - folder(stack.component).size();
    const std::string& name = info(tensor).name;
    return std::min(name.find('.', bare + 1), name.size() - 1) + 1;
  }

  const std::string& folder(std::uint32_t component) const {
    return outline_.components[component].folder;
  }
  std::string_view bare_name(const Stack& stack) const {
    return std::string_view(stack.name).substr(folder(stack.component).size());
  }

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
    for (const FileEntry& file : files) {
      const bool tensors = file.kind == FileKind::kTensors;
      component_of_.push_back(tensors ? folders.at(folder_of(file.path)) : 0);
    }
  }

  void find_tensors() {
    // By component: its stacks by their names.
    std::vector<std::unordered_map<std::string_view, std::uint32_t>> by_name(
        outline_.components.size());
    for (std::uint32_t f = 0; f < manifest_.file_count(); ++f) {
      if (manifest_.file(FileIndex(f)).kind != FileKind::kTensors) continue;
      const auto entries = manifest_.tensors(FileIndex(f));
      for (std::uint32_t t = 0; t < entries.size(); ++t) {
        OutlineTensor tensor{
            .file = FileIndex(f), .tensor = TensorIndex(t), .component = component_of_[f]};
        const std::string_view name = entries[t].info.name;
        const auto unit = unit_of(name);
        if (unit && !names_projector(unit->stack)) {
          const auto [it, added] = by_name[tensor.component].try_emplace(
              name.substr(0, unit->stack.size()), static_cast<std::uint32_t>(found_.size()));
          if (added) found_.push_back({.name = it->first, .component = tensor.component});
          Found& stack = found_[it->second];
          stack.numbered = std::max(stack.numbered, unit->index + 1);
          stack.bytes += entries[t].info.bytes();
          ++stack.tensors;
          tensor.stack = it->second;
          tensor.layer = unit->index;
        }
        outline_.tensors.push_back(tensor);
      }
    }
  }

  void order_stacks() {
    std::vector<std::uint32_t> order(found_.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      const Found& one = found_[a];
      const Found& other = found_[b];
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
      std::uint32_t& main = outline_.components[found.component].main;
      if (main == kNoStack) main = place[i];
      outline_.stacks.push_back({.name = folder(found.component) + std::string(found.name),
                                 .component = found.component,
                                 .numbered = found.numbered,
                                 .bytes = found.bytes,
                                 .tensors = found.tensors});
    }
    for (Stack& stack : outline_.stacks) {
      stack.main_words =
          static_cast<std::uint32_t>(common_words(bare_name(stack), main_name(stack.component)));
      stack.tower = names_tower(bare_name(stack));
    }
    for (OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack != kNoStack) tensor.stack = place[tensor.stack];
      if (tensor.stack == kNoStack) tensor.layer = 0;
    }
  }

  // Of its main stack without the folder; empty without a stack.
  std::string_view main_name(std::uint32_t component) const {
    const std::uint32_t main = outline_.components[component].main;
    return main == kNoStack ? std::string_view() : bare_name(outline_.stacks[main]);
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
      // Nothing before them that they could stand behind.
      if (stack.layers == 0) stack.layers = stack.numbered;
    }
  }

  void find_experts() {
    // Routers of equal names in different components are different ones.
    std::vector<ExpertFinder> finders(outline_.components.size());
    for (const OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack == kNoStack) continue;
      finders[tensor.component].learn(info(tensor).name, inside(tensor), info(tensor));
    }
    for (OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack == kNoStack) continue;
      tensor.experts =
          finders[tensor.component].find(info(tensor).name, inside(tensor), info(tensor));
      std::uint32_t& most = outline_.stacks[tensor.stack].experts;
      if (tensor.experts.count == 0) continue;
      most = std::max(most, tensor.experts.first + tensor.experts.count);
    }
  }

  // Which stack a tensor outside all layers stands beside, if not the main one: the largest of
  // those whose name begins with the most words alike.
  void find_neighbours() {
    // By component: beginnings of stacks' names, whole words, with the largest stack of each.
    std::vector<std::unordered_map<std::string_view, std::uint32_t>> beginnings(
        outline_.components.size());
    for (std::uint32_t s = 0; s < outline_.stacks.size(); ++s) {
      const std::string_view name = bare_name(outline_.stacks[s]);
      std::size_t end = 0;
      for (std::size_t words = 1; words <= kWordsMax && end < name.size(); ++words) {
        end = std::min(name.find('.', words == 1 ? 0 : end + 1), name.size());
        beginnings[outline_.stacks[s].component].try_emplace(name.substr(0, end), s);
      }
    }
    for (OutlineTensor& tensor : outline_.tensors) {
      if (tensor.stack != kNoStack) continue;
      const std::string_view name = info(tensor).name;
      const auto& known = beginnings[tensor.component];
      const std::size_t main = words_with_main(tensor);
      std::size_t end = 0;
      for (std::size_t words = 1; words <= kWordsMax && end < name.size(); ++words) {
        end = std::min(name.find('.', words == 1 ? 0 : end + 1), name.size());
        const auto it = known.find(name.substr(0, end));
        if (it == known.end()) break;
        if (words > main) tensor.home = it->second;
      }
    }
  }

  std::size_t words_with_main(const OutlineTensor& tensor) const {
    return common_words(info(tensor).name, main_name(tensor.component));
  }

  // To the main stack of its component, by words that say it whatever stands beside. `shared`: as
  // many words of its name are the main stack's; `words`: the rest.
  std::optional<Side> side_by_sense(std::uint32_t component, std::size_t shared,
                                    std::string_view words) const {
    const std::uint32_t main = outline_.components[component].main;
    const bool tower = main != kNoStack && outline_.stacks[main].tower;
    if (!tower && names_tower(words)) return Side::kInput;
    // The encoder runs before the decoder, whichever is the larger: T5 and BART, Whisper.
    const std::string_view own = first_word(words);
    const std::string_view mains = first_word(after_words(main_name(component), shared));
    if (own == "encoder" && mains == "decoder") return Side::kInput;
    if (own == "decoder" && mains == "encoder") return Side::kOutput;
    if (names_mtp(words)) return Side::kOutput;
    return std::nullopt;
  }

  void find_sides() {
    std::vector<Role> roles(outline_.tensors.size(), Role::kUnknown);
    std::vector<bool> embedded(outline_.components.size());
    std::vector<bool> headed(outline_.components.size());
    for (std::size_t i = 0; i < roles.size(); ++i) {
      OutlineTensor& tensor = outline_.tensors[i];
      if (in_main_layer(tensor)) {
        tensor.side = tensor.main_side = layer_side(tensor);
        continue;
      }
      const std::size_t shared = words_with_main(tensor);
      const std::string_view words = after_words(info(tensor).name, shared);
      const auto sense = side_by_sense(tensor.component, shared, words);
      tensor.main_side = sense.value_or(Side::kEverybody);
      if (tensor.stack != kNoStack) {
        tensor.side = layer_side(tensor);
      } else if (tensor.home != kNoStack) {
        const std::string_view home = bare_name(outline_.stacks[tensor.home]);
        const std::string_view name = info(tensor).name;
        tensor.side = side_of(role_of(after_words(name, common_words(name, home))), false);
      } else if (!sense) {
        roles[i] = role_of(words);
        const bool embeds = roles[i] == Role::kTokenEmbedding;
        if (embeds) embedded[tensor.component] = true;
        if (embeds) tensor.embedding_words = static_cast<std::uint32_t>(shared);
        if (roles[i] == Role::kHead) headed[tensor.component] = true;
      }
    }
    for (std::size_t c = 0; c < embedded.size(); ++c) {
      Component& component = outline_.components[c];
      component.tied = embedded[c] && !headed[c] && component.main != kNoStack;
    }
    for (std::size_t i = 0; i < roles.size(); ++i) {
      OutlineTensor& tensor = outline_.tensors[i];
      if (tensor.stack != kNoStack || tensor.home != kNoStack) continue;
      if (roles[i] != Role::kUnknown) {
        tensor.main_side = side_of(roles[i], outline_.components[tensor.component].tied);
      }
      tensor.side = tensor.main_side;
    }
  }

  bool in_main_layer(const OutlineTensor& tensor) const {
    return tensor.stack != kNoStack && tensor.stack == outline_.components[tensor.component].main;
  }
  Side layer_side(const OutlineTensor& tensor) const {
    return tensor.layer < outline_.stacks[tensor.stack].layers ? Side::kLayer : Side::kOutput;
  }

  static void add(Stack& stack, Side side, std::uint64_t bytes) {
    if (side == Side::kInput || side == Side::kBoth) stack.input_bytes += bytes;
    if (side == Side::kOutput || side == Side::kBoth) stack.output_bytes += bytes;
    if (side == Side::kEverybody) stack.everybody_bytes += bytes;
  }

  void add_up_sides() {
    // Of token embeddings, by component and by the words that they share with the main stack.
    std::vector<std::map<std::uint32_t, std::uint64_t>> embeddings(outline_.components.size());
    for (const OutlineTensor& tensor : outline_.tensors) {
      const std::uint64_t bytes = info(tensor).bytes();
      const std::uint32_t main = outline_.components[tensor.component].main;
      if (main != kNoStack) add(outline_.stacks[main], tensor.main_side, bytes);
      const std::uint32_t own = tensor.stack != kNoStack ? tensor.stack : tensor.home;
      if (own != kNoStack && own != main) add(outline_.stacks[own], tensor.side, bytes);
      if (tensor.embedding_words) embeddings[tensor.component][*tensor.embedding_words] += bytes;
    }
    for (std::uint32_t s = 0; s < outline_.stacks.size(); ++s) {
      Stack& stack = outline_.stacks[s];
      if (s == outline_.components[stack.component].main) continue;
      for (const auto& [words, bytes] : embeddings[stack.component]) {
        if (outline_.reads_embedding(s, words)) stack.input_bytes += bytes;
      }
    }
  }

  // What may become a stack.
  struct Found {
    std::string_view name;  // without the folder
    std::uint32_t component = 0;
    std::uint32_t numbered = 0;
    std::uint64_t bytes = 0;
    std::uint32_t tensors = 0;
  };

  const Manifest& manifest_;
  std::vector<std::uint32_t> component_of_;  // by file
  std::vector<Found> found_;
  Outline outline_;
};

}  // namespace

std::optional<Unit> unit_of(std::string_view name) {
  std::size_t from = 0;
  while (from < name.size()) {
    const std::size_t dot = std::min(name.find('.', from), name.size());
    const std::string_view word = name.substr(from, dot - from);
    std::uint32_t index = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), index);
    const bool digits =
        !word.empty() && parsed.ec == std::errc{} && parsed.ptr == word.data() + word.size();
    if (digits && from > 0 && index <= kLayerMax) {
      return Unit{.stack = std::string(name.substr(0, from - 1)), .index = index};
    }
    from = dot + 1;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Outline::find_stack(std::string_view name) const {
  const auto it = std::ranges::find(stacks, name, &Stack::name);
  if (it == stacks.end()) return std::nullopt;
  return static_cast<std::uint32_t>(it - stacks.begin());
}

bool Outline::reads_embedding(std::uint32_t stack, std::uint32_t words) const {
  // It shares no more words with this stack, else it would stand beside it: as many exactly if
  // the stacks share them.
  return !stacks[stack].tower && stacks[stack].main_words >= words;
}

std::optional<Side> Outline::side(const OutlineTensor& tensor, std::uint32_t stack) const {
  if (tensor.component != stacks[stack].component) return std::nullopt;
  if (stack == components[tensor.component].main) return tensor.main_side;
  if (tensor.stack == stack) return tensor.side;
  if (tensor.stack != kNoStack) return std::nullopt;
  if (tensor.home == stack) return tensor.side;
  if (tensor.embedding_words && reads_embedding(stack, *tensor.embedding_words)) {
    return Side::kInput;
  }
  return std::nullopt;
}

std::string Outline::full_name(const OutlineTensor& tensor, const Manifest& manifest) const {
  return components[tensor.component].folder +
         manifest.tensors(tensor.file)[tensor.tensor.value].info.name;
}

Outline make_outline(const Manifest& manifest) { return Outliner(manifest).run(); }

}  // namespace shardswarm
