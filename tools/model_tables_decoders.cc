// Sizes are those of each model's published config.json; names those of its transformers class.
#include "tools/model_tables.h"

namespace shardswarm {
namespace {

// LlamaForCausalLM.
constexpr std::string_view kLlamaRows = R"(
model.embed_tokens w v h
repeat 0 L model.layers.#.
self_attn.q_proj w a*d h
self_attn.k_proj w k*d h
self_attn.v_proj w k*d h
self_attn.o_proj w h a*d
mlp.gate_proj w f h
mlp.up_proj w f h
mlp.down_proj w h f
input_layernorm w h
post_attention_layernorm w h
end
model.norm w h
lm_head w v h
)";
constexpr std::string_view kLlamaConfig =
    "architectures/0='LlamaForCausalLM' model_type='llama' hidden_size=h intermediate_size=f "
    "num_hidden_layers=L num_attention_heads=a num_key_value_heads=k head_dim=d vocab_size=v "
    "tie_word_embeddings=false torch_dtype='bfloat16'";

// The index in which bitsandbytes' names stand; dtypes follow from its total_size.
constexpr std::string_view kLlamaInt8Rows = R"(
model.embed_tokens w v h
repeat 0 L model.layers.#.
self_attn.q_proj bnb8 a*d h
self_attn.k_proj bnb8 k*d h
self_attn.v_proj bnb8 k*d h
self_attn.o_proj bnb8 h a*d
mlp.gate_proj bnb8 f h
mlp.up_proj bnb8 f h
mlp.down_proj bnb8 h f
input_layernorm w h
post_attention_layernorm w h
end
model.norm w h
lm_head w v h
)";
constexpr std::string_view kLlamaInt8Config =
    "architectures/0='LlamaForCausalLM' model_type='llama' hidden_size=h intermediate_size=f "
    "num_hidden_layers=L num_attention_heads=a num_key_value_heads=k head_dim=d vocab_size=v "
    "tie_word_embeddings=false torch_dtype='float16' "
    "quantization_config/quant_method='bitsandbytes' quantization_config/load_in_8bit=true";

// Gemma2ForCausalLM: four norms a layer, tied.
constexpr std::string_view kGemmaRows = R"(
model.embed_tokens w v h
repeat 0 L model.layers.#.
self_attn.q_proj w a*d h
self_attn.k_proj w k*d h
self_attn.v_proj w k*d h
self_attn.o_proj w h a*d
mlp.gate_proj w f h
mlp.up_proj w f h
mlp.down_proj w h f
input_layernorm w h
post_attention_layernorm w h
pre_feedforward_layernorm w h
post_feedforward_layernorm w h
end
model.norm w h
)";

// GPT2LMHeadModel as first published: no prefix, Conv1D weights [in, out], the causal mask as a
// buffer of every layer.
constexpr std::string_view kGpt2Rows = R"(
wte w v h
wpe w p h
repeat 0 L h.#.
ln_1 wb h
attn.bias . 1 1 p p
attn.c_attn.weight . h 3*h
attn.c_attn.bias . 3*h
attn.c_proj.weight . h h
attn.c_proj.bias . h
ln_2 wb h
mlp.c_fc.weight . h 4*h
mlp.c_fc.bias . 4*h
mlp.c_proj.weight . 4*h h
mlp.c_proj.bias . h
end
ln_f wb h
)";

// GPTNeoXForCausalLM with the buffers that were saved then: mask, its value, rotary frequencies.
constexpr std::string_view kNeoxRows = R"(
gpt_neox.embed_in w v h
repeat 0 L gpt_neox.layers.#.
input_layernorm wb h
post_attention_layernorm wb h
attention.bias U8 1 1 p p
attention.masked_bias .
attention.rotary_emb.inv_freq . r
attention.query_key_value wb 3*h h
attention.dense wb h h
mlp.dense_h_to_4h wb f h
mlp.dense_4h_to_h wb h f
end
gpt_neox.final_layer_norm wb h
embed_out w v h
)";

// FalconForCausalLM: one KV head, no biases but those of the norms.
constexpr std::string_view kFalconRows = R"(
transformer.word_embeddings w v h
repeat 0 L transformer.h.#.
input_layernorm wb h
self_attention.query_key_value w h+2*d h
self_attention.dense w h h
mlp.dense_h_to_4h w 4*h h
mlp.dense_4h_to_h w h 4*h
end
transformer.ln_f wb h
lm_head w v h
)";

// BloomModel, saved without its head: no prefix, tied.
constexpr std::string_view kBloomRows = R"(
word_embeddings w v h
word_embeddings_layernorm wb h
repeat 0 L h.#.
input_layernorm wb h
self_attention.query_key_value wb 3*h h
self_attention.dense wb h h
post_attention_layernorm wb h
mlp.dense_h_to_4h wb 4*h h
mlp.dense_4h_to_h wb h 4*h
end
ln_f wb h
)";

// MPTForCausalLM: no biases, ALiBi instead of positions, tied.
constexpr std::string_view kMptRows = R"(
transformer.wte w v h
repeat 0 L transformer.blocks.#.
norm_1 w h
attn.Wqkv w 3*h h
attn.out_proj w h h
norm_2 w h
ffn.up_proj w 4*h h
ffn.down_proj w h 4*h
end
transformer.norm_f w h
)";

// MambaForCausalLM: no attention, tied.
constexpr std::string_view kMambaRows = R"(
backbone.embeddings w v h
repeat 0 L backbone.layers.#.
norm w h
mixer.A_log . f s
mixer.D . f
mixer.conv1d wb f 1 4
mixer.in_proj w 2*f h
mixer.x_proj w t+2*s f
mixer.dt_proj wb f t
mixer.out_proj w h f
end
backbone.norm_f w h
)";

// ChatGLMForConditionalGeneration: a decoder, though its layers stand below "encoder".
constexpr std::string_view kChatglmRows = R"(
transformer.embedding.word_embeddings w v h
transformer.rotary_pos_emb.inv_freq . r
repeat 0 L transformer.encoder.layers.#.
input_layernorm w h
self_attention.query_key_value wb h+2*k*d h
self_attention.dense w h h
post_attention_layernorm w h
mlp.dense_h_to_4h w 2*f h
mlp.dense_4h_to_h w h f
end
transformer.encoder.final_layernorm w h
transformer.output_layer w v h
)";

constexpr ModelTable kDecoders[] = {
    {.name = "llama-3.1-8b",
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=4096/ f=14336/ v=128256/ a=32 k=8 d=128/ L=32",
     .rows = kLlamaRows,
     .config = kLlamaConfig},
    {.name = "llama-3.1-8b-int8",
     .dtype = Dtype::kF16,
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=4096/ f=14336/ v=128256/ a=32 k=8 d=128/ L=32",
     .rows = kLlamaInt8Rows,
     .config = kLlamaInt8Config},
    {.name = "llama-405b",
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=16384/ f=53248/ v=128256/ a=128 k=8 d=128/ L=126",
     .rows = kLlamaRows,
     .config = kLlamaConfig},
    {.name = "gemma-2-2b",
     .dtype = Dtype::kF32,
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=2304/ f=9216/ v=256000/ a=8 k=4 d=256/ L=26",
     .rows = kGemmaRows,
     .config = "architectures/0='Gemma2ForCausalLM' model_type='gemma2' hidden_size=h "
               "intermediate_size=f num_hidden_layers=L num_attention_heads=a "
               "num_key_value_heads=k head_dim=d vocab_size=v torch_dtype='float32'"},
    {.name = "gpt2",
     .dtype = Dtype::kF32,
     .sizes = "h=768/ v=50257/ p=1024/ a=12 L=12",
     .rows = kGpt2Rows,
     .config = "architectures/0='GPT2LMHeadModel' model_type='gpt2' n_embd=h n_layer=L n_head=a "
               "n_ctx=p n_positions=p vocab_size=v"},
    {.name = "gpt-neox-20b",
     .dtype = Dtype::kF16,
     .split = {.shard_bytes = kGB},
     .sizes = "h=6144/ f=24576/ v=50432/ p=2048/ r=12 a=64 L=44",
     .rows = kNeoxRows,
     .config = "architectures/0='GPTNeoXForCausalLM' model_type='gpt_neox' hidden_size=h "
               "intermediate_size=f num_hidden_layers=L num_attention_heads=a vocab_size=v "
               "max_position_embeddings=p tie_word_embeddings=false torch_dtype='float16'"},
    {.name = "falcon-7b",
     .split = {.shard_bytes = 10 * kGB},
     .sizes = "h=4544/ v=65024/ a=71 d=64/ L=32",
     .rows = kFalconRows,
     .config = "architectures/0='FalconForCausalLM' model_type='falcon' hidden_size=h "
               "num_hidden_layers=L num_attention_heads=a multi_query=true vocab_size=v "
               "torch_dtype='bfloat16'"},
    {.name = "bloom-560m",
     .dtype = Dtype::kF16,
     .sizes = "h=1024/ v=250880/ a=16 L=24",
     .rows = kBloomRows,
     .config = "architectures/0='BloomForCausalLM' model_type='bloom' hidden_size=h n_layer=L "
               "num_attention_heads=a vocab_size=v"},
    {.name = "mpt-7b",
     .split = {.shard_bytes = 10 * kGB},
     .sizes = "h=4096/ v=50432/ a=32 L=32",
     .rows = kMptRows,
     .config = "architectures/0='MPTForCausalLM' model_type='mpt' d_model=h n_layers=L n_heads=a "
               "vocab_size=v torch_dtype='bfloat16'"},
    {.name = "mamba-130m",
     .dtype = Dtype::kF32,
     .sizes = "h=768/ f=1536/ v=50280/ s=16 t=48/ L=24",
     .rows = kMambaRows,
     .config =
         "architectures/0='MambaForCausalLM' model_type='mamba' hidden_size=h "
         "intermediate_size=f num_hidden_layers=L state_size=s time_step_rank=t conv_kernel=4 "
         "vocab_size=v tie_word_embeddings=true"},
    {.name = "chatglm3-6b",
     .dtype = Dtype::kF16,
     .split = {.shard_bytes = 2 * kGB},
     .sizes = "h=4096/ f=13696/ v=65024/ a=32 k=2 d=128/ r=32 L=28",
     .rows = kChatglmRows,
     .config = "architectures/0='ChatGLMModel' model_type='chatglm' hidden_size=h "
               "ffn_hidden_size=f num_layers=L num_attention_heads=a multi_query_attention=true "
               "multi_query_group_num=k kv_channels=d padded_vocab_size=v "
               "tie_word_embeddings=false torch_dtype='float16'"},
};

}  // namespace

std::span<const ModelTable> decoder_tables() { return kDecoders; }

}  // namespace shardswarm
