#include "piece/outline_roles.h"

#include <algorithm>
#include <array>
#include <utility>

namespace shardswarm {
namespace {

// By family: llama, qwen, mistral, gemma, mixtral, deepseek; gpt2; falcon, bloom, chatglm;
// gpt-neox; llama as Meta names it; mamba; t5, bart; gguf; clip.
constexpr std::array<std::string_view, 13> kTokenEmbeddings = {
    "embed_tokens",   "wte",          "word_embeddings", "embed_in",   "tok_embeddings",
    "embedding",      "embeddings",   "shared",          "token_embd", "embedder",
    "word_embedding", "tokens_embed", "token_embedding",
};
// Not "rotary_pos_emb": every layer needs it.
constexpr std::array<std::string_view, 23> kOtherInput = {
    "wpe",
    "embed_positions",
    "position_embedding",
    "position_embeddings",
    "positional_embedding",
    "pos_embed",
    "pos_emb",
    "word_embeddings_layernorm",
    "emb_layernorm",
    "embed_norm",
    "layernorm_embedding",
    // Of towers.
    "patch_embed",
    "patch_embedding",
    "patch_embedder",
    "patch_conv",
    "class_embedding",
    "cls_token",
    "ln_pre",
    "pre_layernorm",
    "pre_layrnorm",  // as CLIP spells it
    "conv_in",
    "conv1",
    "conv2",
};
constexpr std::array<std::string_view, 8> kHeads = {
    "lm_head", "embed_out", "output_layer", "score", "classifier", "output", "head", "proj_out",
};
constexpr std::array<std::string_view, 11> kFinalNorms = {
    "norm",       "ln_f",        "final_layer_norm", "final_layernorm", "norm_f",  "ln_final",
    "final_norm", "output_norm", "post_layernorm",   "ln_post",         "ln_norm",
};
constexpr std::array<std::string_view, 18> kTowers = {
    "visual",          "vision",        "vision_tower",        "vision_model",  "vision_encoder",
    "vision_backbone", "vpm",           "audio_tower",         "audio_encoder", "audio_model",
    "speech_encoder",  "img_processor", "embed_tokens_extend", "image_newline", "view_seperator",
    "patch_embed",     "image_encoder", "vision_embed_tokens",
};
constexpr std::array<std::string_view, 16> kProjectors = {
    "merger",
    "deepstack_merger_list",
    "multi_modal_projector",
    "multimodal_projector",
    "mm_projector",
    "vision_projector",
    "audio_projector",
    "vision_language_adapter",
    "projector",
    "connector",
    "aligner",
    "resampler",
    "mlp1",
    "img_projection",
    // Of gemma3n, with norms and "embedding" inside.
    "embed_vision",
    "embed_audio",
};
constexpr std::array<std::string_view, 2> kMtp = {"mtp", "mtp_layers"};

template <std::size_t N>
bool has_word(std::string_view name, const std::array<std::string_view, N>& words) {
  return any_word(name, [&](std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  });
}

// Suffixes of a layer's weight and of what quantisation puts beside it.
constexpr std::array<std::string_view, 11> kWeightSuffixes = {
    "weight",
    "scales",
    "biases",
    "bias",
    "weight_scale_inv",
    "weight_scale",
    "weight_packed",
    "qweight",
    "weight_zero_point",
    "qzeros",
    "g_idx",
};
// The last word of the layers whose input is split (row-parallel, as Megatron calls it): llama and
// its relatives; mixtral, and llama as Meta names it; mamba, mpt, bart, opt; gpt-neox, bloom,
// falcon, chatglm; gpt2; phi, gpt-j; t5; projectors. Of GPT-2's c_proj, which it keeps transposed,
// the rows could be split, but starcoder has the same name the other way round: whole serves both.
constexpr std::array<std::string_view, 11> kSplitByColumns = {
    "o_proj", "down_proj", "w2",     "wo",       "out_proj", "dense_4h_to_h",
    "c_proj", "fc2",       "fc_out", "linear_2", "linear2",
};
// GPT-2 keeps these transposed ([in, out]), so that their outputs are the columns; starcoder does
// not. Both have more outputs than inputs.
constexpr std::array<std::string_view, 2> kTransposedIfWide = {"c_attn", "c_fc"};
// Where one word says too little.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kSplitByColumnsPairs = {{
    {"attention", "dense"},
    {"self_attention", "dense"},
    {"self_attn", "dense"},
    {"output", "dense"},
    {"SelfAttention", "o"},
    {"EncDecAttention", "o"},
}};

// Takes the last word off the name.
std::string_view take_last(std::string_view& name) {
  const std::size_t dot = name.rfind('.');
  const std::string_view word = dot == std::string_view::npos ? name : name.substr(dot + 1);
  name = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
  return word;
}

}  // namespace

std::string_view first_word(std::string_view name) { return name.substr(0, name.find('.')); }

std::string_view after_words(std::string_view name, std::size_t words) {
  for (; words > 0; --words) {
    name.remove_prefix(std::min(first_word(name).size() + 1, name.size()));
  }
  return name;
}

std::size_t common_words(std::string_view a, std::string_view b) {
  std::size_t words = 0;
  while (words < kWordsMax && !a.empty() && !b.empty() && first_word(a) == first_word(b)) {
    ++words;
    a = after_words(a, 1);
    b = after_words(b, 1);
  }
  return words;
}

Role role_of(std::string_view words) {
  // The more telling word first: "word_embeddings_layernorm" is no embedding, "output_norm" no
  // head, and the norm inside a merger is part of the merger.
  if (has_word(words, kOtherInput)) return Role::kInput;
  if (has_word(words, kProjectors)) return Role::kHead;
  if (has_word(words, kTokenEmbeddings)) return Role::kTokenEmbedding;
  if (has_word(words, kFinalNorms)) return Role::kFinalNorm;
  if (has_word(words, kHeads)) return Role::kHead;
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

bool names_tower(std::string_view words) {
  return has_word(words, kTowers) || has_word(words, kProjectors);
}

bool names_projector(std::string_view words) { return has_word(words, kProjectors); }

bool names_mtp(std::string_view words) { return has_word(words, kMtp); }

bool marks_mtp_layer(std::string_view name) {
  // Most names have no such letters at all.
  return name.find("eh_proj") != std::string_view::npos &&
         any_word(name, [](std::string_view word) { return word == "eh_proj"; });
}

bool split_by_columns(const TensorInfo& tensor) {
  if (tensor.shape.size() < 2) return false;
  const std::string_view whole = tensor.name;
  std::string_view name = whole;
  std::string_view last = take_last(name);
  if (std::ranges::find(kWeightSuffixes, last) != kWeightSuffixes.end()) {
    last = take_last(name);
  } else if (whole.ends_with("experts.mlp.w2")) {
    return false;  // DBRX: rows are the inputs of all its experts
  }
  if (std::ranges::find(kSplitByColumns, last) != kSplitByColumns.end()) return true;
  if (std::ranges::find(kTransposedIfWide, last) != kTransposedIfWide.end()) {
    return tensor.shape.size() == 2 && tensor.shape[0] < tensor.shape[1];
  }
  return std::ranges::find(kSplitByColumnsPairs, std::pair(take_last(name), last)) !=
         kSplitByColumnsPairs.end();
}

}  // namespace shardswarm
