#include "piece/outline.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

namespace shardswarm {
namespace {

// A layer number beyond this is no layer number.
constexpr std::uint32_t kLayerMax = 100'000;

// Words that stand in the names of tensors outside the layers, by family (llama, qwen, mistral,
// gemma, mixtral, deepseek; gpt2, falcon; bloom; gpt-neox; mpt, dbrx; mamba; chatglm; t5).
constexpr std::array<std::string_view, 12> kTokenEmbeddings = {
    "embed_tokens", "wte",    "word_embeddings", "embed_in", "tok_embeddings", "embedding",
    "embeddings",   "shared", "token_embd",      "embedder", "tokens_embed",   "word_embedding",
};
constexpr std::array<std::string_view, 8> kOtherInput = {
    "wpe",           "embed_positions", "position_embeddings", "word_embeddings_layernorm",
    "emb_layernorm", "rotary_pos_emb",  "embed_norm",          "position_embedding",
};
constexpr std::array<std::string_view, 7> kHeads = {
    "lm_head", "embed_out", "output_layer", "score", "classifier", "output", "head",
};
constexpr std::array<std::string_view, 8> kFinalNorms = {
    "norm",   "ln_f",     "final_layer_norm", "final_layernorm",
    "norm_f", "ln_final", "final_norm",       "output_norm",
};

template <std::size_t N>
bool has_word(std::string_view name, const std::array<std::string_view, N>& words) {
  while (!name.empty()) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string_view word = name.substr(0, dot);
    if (std::find(words.begin(), words.end(), word) != words.end()) return true;
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  return false;
}

enum class Role : std::uint8_t { kTokenEmbedding, kInput, kHead, kFinalNorm, kUnknown };

Role role_of(std::string_view name) {
  // The more telling word first: "word_embeddings_layernorm" is no embedding, "output_norm" no
  // head.
  if (has_word(name, kOtherInput)) return Role::kInput;
  if (has_word(name, kTokenEmbeddings)) return Role::kTokenEmbedding;
  if (has_word(name, kFinalNorms)) return Role::kFinalNorm;
  if (has_word(name, kHeads)) return Role::kHead;
  return Role::kUnknown;
}

Side side_of(Role role, bool tied) {
  switch (role) {
    case Role::kTokenEmbedding:
      return tied ? Side::kBoth : Side::kInput;
    case Role::kInput:
      return Side::kInput;
    case Role::kHead:
    case Role::kFinalNorm:
      return Side::kOutput;
    case Role::kUnknown:
      break;
  }
  return Side::kEverybody;
}

// Tensors and their stacks as found, before the stacks are ordered by size.
struct Found {
  std::vector<OutlineTensor> tensors;
  std::vector<Stack> stacks;
};

// Words that two dotted names begin with alike.
std::size_t common_words(std::string_view a, std::string_view b) {
  std::size_t words = 0;
  while (!a.empty() && !b.empty()) {
    const std::size_t a_dot = std::min(a.find('.'), a.size());
    const std::size_t b_dot = std::min(b.find('.'), b.size());
    if (a.substr(0, a_dot) != b.substr(0, b_dot)) break;
    ++words;
    a.remove_prefix(std::min(a_dot + 1, a.size()));
    b.remove_prefix(std::min(b_dot + 1, b.size()));
  }
  return words;
}

// Closer to another stack than to the main one: a vision tower's own head and norms, the encoder's
// final norm of a T5. Their words say nothing about the model's input and output.
bool beside(std::string_view name, const std::vector<Stack>& stacks) {
  const std::size_t main = stacks.empty() ? 0 : common_words(name, stacks[0].name);
  return std::any_of(stacks.begin(), stacks.end(),
                     [&](const Stack& stack) { return common_words(name, stack.name) > main; });
}

Found find_tensors(const Manifest& manifest) {
  Found found;
  std::map<std::string, std::uint32_t, std::less<>> by_name;
  for (std::uint32_t f = 0; f < manifest.file_count(); ++f) {
    if (manifest.file(FileIndex(f)).kind != FileKind::kTensors) continue;
    const auto entries = manifest.tensors(FileIndex(f));
    for (std::uint32_t t = 0; t < entries.size(); ++t) {
      const TensorInfo& info = entries[t].info;
      OutlineTensor tensor{
          .file = FileIndex(f), .tensor = TensorIndex(t), .stack = OutlineTensor::kNoStack};
      if (const auto unit = unit_of(info.name)) {
        const auto [it, added] =
            by_name.try_emplace(unit->stack, static_cast<std::uint32_t>(found.stacks.size()));
        if (added) found.stacks.push_back({.name = unit->stack});
        Stack& stack = found.stacks[it->second];
        stack.layers = std::max(stack.layers, unit->index + 1);
        stack.bytes += info.bytes();
        ++stack.tensors;
        tensor.stack = it->second;
        tensor.layer = unit->index;
      }
      found.tensors.push_back(tensor);
    }
  }
  return found;
}

std::vector<Role> roles_of(const Found& found, const std::vector<Stack>& stacks,
                           const Manifest& manifest) {
  std::vector<Role> roles;
  for (const OutlineTensor& tensor : found.tensors) {
    const std::string& name = manifest.tensors(tensor.file)[tensor.tensor.value].info.name;
    const bool outside = tensor.stack == OutlineTensor::kNoStack && !beside(name, stacks);
    roles.push_back(outside ? role_of(name) : Role::kUnknown);
  }
  return roles;
}

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

Outline make_outline(const Manifest& manifest) {
  Found found = find_tensors(manifest);
  Outline outline;

  std::vector<std::uint32_t> order(found.stacks.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const Stack& left = found.stacks[a];
    const Stack& right = found.stacks[b];
    return left.bytes != right.bytes ? left.bytes > right.bytes : left.name < right.name;
  });
  std::vector<std::uint32_t> place(order.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    outline.stacks.push_back(std::move(found.stacks[order[i]]));
  }
  if (!outline.stacks.empty()) outline.layer_bytes.resize(outline.stacks[0].layers);

  const std::vector<Role> roles = roles_of(found, outline.stacks, manifest);
  const auto any = [&](Role role) { return std::ranges::count(roles, role) > 0; };
  outline.tied = any(Role::kTokenEmbedding) && !any(Role::kHead) && !outline.stacks.empty();

  for (std::size_t i = 0; i < found.tensors.size(); ++i) {
    OutlineTensor& tensor = found.tensors[i];
    const std::uint64_t bytes = manifest.tensors(tensor.file)[tensor.tensor.value].info.bytes();
    if (tensor.stack != OutlineTensor::kNoStack) {
      tensor.stack = place[tensor.stack];
      tensor.side = tensor.stack == 0 ? Side::kLayer : Side::kEverybody;
    } else {
      tensor.side = side_of(roles[i], outline.tied);
    }
    switch (tensor.side) {
      case Side::kLayer:
        outline.layer_bytes[tensor.layer] += bytes;
        break;
      case Side::kBoth:
        outline.input_bytes += bytes;
        outline.output_bytes += bytes;
        break;
      case Side::kInput:
        outline.input_bytes += bytes;
        break;
      case Side::kOutput:
        outline.output_bytes += bytes;
        break;
      case Side::kEverybody:
        outline.everybody_bytes += bytes;
        break;
    }
  }
  outline.tensors = std::move(found.tensors);
  return outline;
}

}  // namespace shardswarm
