// Where each tensor stands to the stacks: the last step of make_outline().
#include <algorithm>
#include <map>
#include <vector>

#include "piece/outline_roles.h"
#include "piece/outline_steps.h"

namespace shardswarm {
namespace {

// What a stack's scope has outside all layers.
struct Ends {
  bool embedding = false;
  bool head = false;
  bool head_part = false;
};

// Lives for one call of find_sides(), on its caller's thread.
class SideFinder {
 public:
  SideFinder(const Manifest& manifest, Outline& outline)
      : manifest_(manifest),
        outline_(outline),
        ends_(outline.stacks.size()),
        stack_to_main_(outline.stacks.size()),
        roles_(outline.tensors.size(), Role::kUnknown) {}

  void run() {
    find_scopes();
    for (OutlineTensor& tensor : outline_.tensors) find_home(tensor);
    for (std::uint32_t s = 0; s < outline_.stacks.size(); ++s) find_relations(s);
    for (Component& component : outline_.components) find_writer(component);
    for (std::size_t i = 0; i < roles_.size(); ++i) find_role(i);
    find_mtp_readers();
    for (Component& component : outline_.components) {
      component.tied = component.writer != kNoStack && tied(component.writer);
    }
    for (std::size_t i = 0; i < roles_.size(); ++i) find_side(i);
    add_up_sides();
  }

 private:
  const Stack& stack(std::uint32_t index) const { return outline_.stacks[index]; }
  std::string_view name_of(const OutlineTensor& tensor) const {
    return info_of(manifest_, tensor).name;
  }
  std::uint32_t main_of(const OutlineTensor& tensor) const {
    return outline_.components[tensor.component].main;
  }

  // By component: the beginnings of stacks' names, in whole words, each with the foremost stack
  // whose name begins so. All beginnings of the main stack's name are the main stack's.
  void find_scopes() {
    scopes_.resize(outline_.components.size());
    for (std::uint32_t s = 0; s < outline_.stacks.size(); ++s) {
      const std::string_view name = bare_name(outline_, stack(s));
      for_beginnings(name, [&](std::string_view beginning) {
        scopes_[stack(s).component].try_emplace(beginning, s);
        return true;
      });
    }
  }

  // Calls f with the first word, the first two, and so on, until it answers false.
  template <class F>
  static void for_beginnings(std::string_view name, F&& f) {
    std::size_t end = 0;
    for (std::size_t words = 1; words <= kWordsMax && end < name.size(); ++words) {
      end = std::min(name.find('.', words == 1 ? 0 : end + 1), name.size());
      if (!f(name.substr(0, end))) break;
    }
  }

  // The stack whose scope is the innermost around this name; `but` does not count.
  std::uint32_t scope_of(std::string_view name, std::uint32_t component, std::uint32_t but) const {
    std::uint32_t found = outline_.components[component].main;
    for_beginnings(name, [&](std::string_view beginning) {
      const auto it = scopes_[component].find(beginning);
      if (it == scopes_[component].end()) return false;
      if (it->second != but) found = it->second;
      return true;
    });
    return found;
  }

  void find_home(OutlineTensor& tensor) const {
    if (tensor.stack != kNoStack) return;
    if (!tensor.shared_block) {
      tensor.home = scope_of(name_of(tensor), tensor.component, kNoStack);
    }
    if (tensor.home == main_of(tensor)) tensor.home = kNoStack;
  }

  // How something with these words stands to a stack in whose scope it is, by words that say so
  // whatever they stand beside. `shared`: so many words of its name are the stack's; `words`: the
  // rest.
  std::optional<Side> side_by_sense(const Stack& to, std::size_t shared,
                                    std::string_view words) const {
    switch (module_of(words)) {
      case Module::kTower:
      case Module::kProjector:
        if (to.module != Module::kTower) return Side::kInput;
        break;
      case Module::kMtp:
      case Module::kSpeaker:
        return Side::kOutput;
      case Module::kModel:
        break;
    }
    // An encoder runs before what it stands beside: before the decoder of T5, BART and Whisper,
    // whichever is the larger, and before a language model that listens (Granite Speech).
    const std::string_view own = first_word(words);
    const std::string_view its = first_word(after_words(bare_name(outline_, to), shared));
    if (own == "encoder") return Side::kInput;
    if (own == "decoder" && its == "encoder") return Side::kOutput;
    return std::nullopt;
  }

  void find_relations(std::uint32_t index) {
    Stack& own = outline_.stacks[index];
    const std::string_view name = bare_name(outline_, own);
    const std::uint32_t main = outline_.components[own.component].main;
    if (index == main) return;
    stack_to_main_[index] =
        side_by_sense(stack(main), own.main_words, after_words(name, own.main_words));
    const std::uint32_t parent = scope_of(name, own.component, index);
    if (parent == main) return;
    const std::size_t shared = common_words(name, bare_name(outline_, stack(parent)));
    const auto side = side_by_sense(stack(parent), shared, after_words(name, shared));
    if (!side) return;
    own.parent = parent;
    own.parent_side = *side;
  }

  // The main stack, unless it is an encoder and the component has the decoder to it.
  void find_writer(Component& component) {
    component.writer = component.main;
    if (component.main == kNoStack) return;
    const std::string_view main = bare_name(outline_, stack(component.main));
    for (std::uint32_t s = 0; s < outline_.stacks.size(); ++s) {
      const Stack& other = stack(s);
      if (&outline_.components[other.component] != &component) continue;
      const std::string_view words = after_words(bare_name(outline_, other), other.main_words);
      if (first_word(words) != "decoder") continue;
      if (first_word(after_words(main, other.main_words)) != "encoder") continue;
      component.writer = s;
      return;
    }
  }

  void find_role(std::size_t i) {
    OutlineTensor& tensor = outline_.tensors[i];
    if (tensor.stack != kNoStack || tensor.shared_block) return;
    const std::uint32_t beside = tensor.home != kNoStack ? tensor.home : main_of(tensor);
    const std::string_view name = name_of(tensor);
    if (beside == kNoStack) {
      roles_[i] = role_of(name);
      return;
    }
    const std::size_t shared = common_words(name, bare_name(outline_, stack(beside)));
    const std::string_view words = after_words(name, shared);
    if (side_by_sense(stack(beside), shared, words)) return;
    roles_[i] = role_of(words);
    ends_[beside].embedding |= roles_[i] == Role::kTokenEmbedding;
    ends_[beside].head |= roles_[i] == Role::kHead;
    ends_[beside].head_part |= roles_[i] == Role::kHeadPart;
    if (tensor.home != kNoStack || roles_[i] == Role::kUnknown) return;
    tensor.edge_words = static_cast<std::uint32_t>(shared);
    if (roles_[i] == Role::kTokenEmbedding) tensor.edge = Edge::kEmbedding;
    if (roles_[i] == Role::kHead) tensor.edge = Edge::kHead;
    if (side_of(roles_[i], false) == Side::kOutput && tensor.edge == Edge::kNone) {
      tensor.edge = Edge::kOutput;
    }
  }

  // Whether MTP layers have to read the component's token embedding: DeepSeek-V3's hold a copy of
  // it, Qwen3-Next's do not.
  void find_mtp_readers() {
    std::vector<bool> predicts(outline_.components.size());
    std::vector<bool> copies(outline_.components.size());
    for (const OutlineTensor& tensor : outline_.tensors) {
      const std::string_view name = name_of(tensor);
      std::string_view words;
      if (tensor.stack != kNoStack && stack(tensor.stack).module != Module::kMtp) {
        if (tensor.layer < stack(tensor.stack).layers) continue;
        const std::size_t bytes = bare_name(outline_, stack(tensor.stack)).size();
        words = name.substr(inside_layer(name, bytes));
      } else {
        const auto shared = common_words(name, main_name(outline_, tensor.component));
        words = after_words(name, shared);
        if (module_of(words) != Module::kMtp) continue;
      }
      predicts[tensor.component] = true;
      if (role_of(words) == Role::kTokenEmbedding) copies[tensor.component] = true;
    }
    for (std::size_t c = 0; c < predicts.size(); ++c) {
      outline_.components[c].mtp_reads_embedding = predicts[c] && !copies[c];
    }
  }

  // Whether the stack's token embedding is its head, too.
  bool tied(std::uint32_t index) const {
    const Component& component = outline_.components[stack(index).component];
    Ends ends = ends_[index];
    if (index == component.writer && index != component.main) {
      const Ends& main = ends_[component.main];
      ends.embedding |= main.embedding;
      ends.head |= main.head;
      ends.head_part |= main.head_part;
    }
    // An encoder reads tokens. It writes none, unless it has other parts of a head (BERT).
    // ChatGLM's decoder is called an encoder and has a head.
    const bool encoder = has_words(bare_name(outline_, stack(index)), "encoder");
    return ends.embedding && !ends.head && (!encoder || ends.head_part);
  }

  void find_side(std::size_t i) {
    OutlineTensor& tensor = outline_.tensors[i];
    const std::uint32_t main = main_of(tensor);
    if (tensor.stack != kNoStack) {
      const bool layer = tensor.layer < stack(tensor.stack).layers;
      tensor.side = layer ? Side::kLayer : Side::kOutput;
      tensor.main_side = tensor.stack == main
                             ? tensor.side
                             : stack_to_main_[tensor.stack].value_or(Side::kEverybody);
      return;
    }
    if (main == kNoStack) {
      tensor.side = tensor.main_side = side_of(roles_[i], false);
      return;
    }
    const std::size_t shared = common_words(name_of(tensor), main_name(outline_, tensor.component));
    const std::string_view words = after_words(name_of(tensor), shared);
    const auto sense = side_by_sense(stack(main), shared, words);
    tensor.main_side = sense.value_or(Side::kEverybody);
    if (tensor.home != kNoStack) {
      if (!tensor.shared_block) tensor.side = home_side(tensor, roles_[i]);
      return;
    }
    if (!sense && !tensor.shared_block) {
      tensor.main_side =
          side_of(roles_[i], main_reads_twice(outline_.components[tensor.component]));
    }
    tensor.side = tensor.main_side;
  }

  Side home_side(const OutlineTensor& tensor, Role role) const {
    const Stack& home = stack(tensor.home);
    const std::string_view name = name_of(tensor);
    const std::size_t shared = common_words(name, bare_name(outline_, home));
    const auto sense = side_by_sense(home, shared, after_words(name, shared));
    if (sense) return *sense;
    return side_of(role, home.module != Module::kTower && tied(tensor.home));
  }

  // Whether the embedding beside the main stack is needed at both of its ends: as the head, by the
  // decoder that runs behind an encoder, or by MTP layers.
  bool main_reads_twice(const Component& component) const {
    return component.writer != component.main || tied(component.main) ||
           component.mtp_reads_embedding;
  }

  static void add(Stack& stack, Side side, std::uint64_t bytes) {
    if (side == Side::kInput || side == Side::kBoth) stack.input_bytes += bytes;
    if (side == Side::kOutput || side == Side::kBoth) stack.output_bytes += bytes;
    if (side == Side::kEverybody) stack.everybody_bytes += bytes;
  }

  void add_up_sides() {
    // By component: bytes at the main stack's edges, by Edge and edge_words.
    using Key = std::pair<Edge, std::uint32_t>;
    std::vector<std::map<Key, std::uint64_t>> edges(outline_.components.size());
    for (const OutlineTensor& tensor : outline_.tensors) {
      const std::uint64_t bytes = info_of(manifest_, tensor).bytes();
      const std::uint32_t main = main_of(tensor);
      if (main != kNoStack) add(outline_.stacks[main], tensor.main_side, bytes);
      if (tensor.edge != Edge::kNone) {
        edges[tensor.component][{tensor.edge, tensor.edge_words}] += bytes;
      }
      const std::uint32_t own = tensor.stack != kNoStack ? tensor.stack : tensor.home;
      if (own == kNoStack || own == main) continue;
      add(outline_.stacks[own], tensor.side, bytes);
      const std::uint32_t parent = stack(own).parent;
      if (parent != kNoStack) add(outline_.stacks[parent], stack(own).parent_side, bytes);
    }
    for (std::uint32_t s = 0; s < outline_.stacks.size(); ++s) {
      Stack& each = outline_.stacks[s];
      if (s == outline_.components[each.component].main) continue;
      for (const auto& [key, bytes] : edges[each.component]) {
        if (const auto side = outline_.edge_side(s, key.first, key.second)) add(each, *side, bytes);
      }
    }
  }

  const Manifest& manifest_;
  Outline& outline_;
  std::vector<std::map<std::string_view, std::uint32_t>> scopes_;  // by component
  std::vector<Ends> ends_;                                         // by stack
  std::vector<std::optional<Side>> stack_to_main_;                 // by stack, of its layers
  std::vector<Role> roles_;                                        // by tensor
};

}  // namespace

void find_sides(const Manifest& manifest, Outline& outline) { SideFinder(manifest, outline).run(); }

}  // namespace shardswarm
