// Sizes are those of each model's published config.json; names those of its transformers class.
#include "tools/model_tables.h"

namespace shardswarm {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;  // others' are not

// MixtralForCausalLM.
constexpr std::string_view kMixtralRows = R"(
model.embed_tokens w v h
repeat 0 L model.layers.#.
self_attn.q_proj w a*d h
self_attn.k_proj w k*d h
self_attn.v_proj w k*d h
self_attn.o_proj w h a*d
block_sparse_moe.gate w E h
repeat 0 E block_sparse_moe.experts.#.
w1 w f h
w2 w h f
w3 w f h
end
input_layernorm w h
post_attention_layernorm w h
end
model.norm w h
lm_head w v h
)";

// DeepseekV3ForCausalLM: multi-head latent attention, K dense layers, and behind the last layer the
// MTP head, numbered as a layer. Of the real cut only this is known: 163 files, the first of
// 5,234,139,343 bytes. Files closed at 8 GiB of BF16 weights, begun anew every 7 layers and around
// the head, give 163 and that size but for 1 KB of header.
constexpr std::string_view kDeepseekRows = R"(
model.embed_tokens w v h
repeat 0 K model.layers.#.
self_attn.q_a_proj fp8 q h
self_attn.q_a_layernorm w q
self_attn.q_b_proj fp8 a*n+a*r q
self_attn.kv_a_proj_with_mqa fp8 c+r h
self_attn.kv_a_layernorm w c
self_attn.kv_b_proj fp8 a*n+a*x c
self_attn.o_proj fp8 h a*x
mlp.gate_proj fp8 g h
mlp.up_proj fp8 g h
mlp.down_proj fp8 h g
input_layernorm w h
post_attention_layernorm w h
end
repeat K L model.layers.#.
cut 7
self_attn.q_a_proj fp8 q h
self_attn.q_a_layernorm w q
self_attn.q_b_proj fp8 a*n+a*r q
self_attn.kv_a_proj_with_mqa fp8 c+r h
self_attn.kv_a_layernorm w c
self_attn.kv_b_proj fp8 a*n+a*x c
self_attn.o_proj fp8 h a*x
mlp.gate w E h
mlp.gate.e_score_correction_bias F32 E
repeat 0 E mlp.experts.#.
gate_proj fp8 f h
up_proj fp8 f h
down_proj fp8 h f
end
mlp.shared_experts.gate_proj fp8 f h
mlp.shared_experts.up_proj fp8 f h
mlp.shared_experts.down_proj fp8 h f
input_layernorm w h
post_attention_layernorm w h
end
cut
model.norm w h
lm_head w v h
repeat L L+1 model.layers.#.
cut 1
self_attn.q_a_proj fp8 q h
self_attn.q_a_layernorm w q
self_attn.q_b_proj fp8 a*n+a*r q
self_attn.kv_a_proj_with_mqa fp8 c+r h
self_attn.kv_a_layernorm w c
self_attn.kv_b_proj fp8 a*n+a*x c
self_attn.o_proj fp8 h a*x
mlp.gate w E h
mlp.gate.e_score_correction_bias F32 E
repeat 0 E mlp.experts.#.
gate_proj fp8 f h
up_proj fp8 f h
down_proj fp8 h f
end
mlp.shared_experts.gate_proj fp8 f h
mlp.shared_experts.up_proj fp8 f h
mlp.shared_experts.down_proj fp8 h f
input_layernorm w h
post_attention_layernorm w h
embed_tokens w v h
enorm w h
hnorm w h
eh_proj w h 2*h
shared_head.norm w h
shared_head.head w v h
end
)";

// Qwen3MoeForCausalLM as mlx-lm converts it: experts stacked, every linear layer of 4 bits.
constexpr std::string_view kQwenMlxRows = R"(
model.embed_tokens mlx4 v h
repeat 0 L model.layers.#.
self_attn.q_proj mlx4 a*d h
self_attn.k_proj mlx4 k*d h
self_attn.v_proj mlx4 k*d h
self_attn.o_proj mlx4 h a*d
self_attn.q_norm w d
self_attn.k_norm w d
input_layernorm w h
post_attention_layernorm w h
mlp.gate mlx4 E h
mlp.switch_mlp.gate_proj mlx4 E f h
mlp.switch_mlp.up_proj mlx4 E f h
mlp.switch_mlp.down_proj mlx4 E h f
end
model.norm w h
lm_head mlx4 v h
)";

// DbrxForCausalLM: the experts of a layer are one matrix of rank 2, one below the other.
constexpr std::string_view kDbrxRows = R"(
transformer.wte w v h
repeat 0 L transformer.blocks.#.
norm_attn_norm.norm_1 w h
norm_attn_norm.attn.Wqkv w h+2*k*d h
norm_attn_norm.attn.out_proj w h h
norm_attn_norm.norm_2 w h
ffn.router.layer w E h
ffn.experts.mlp.w1 . E*f h
ffn.experts.mlp.v1 . E*f h
ffn.experts.mlp.w2 . E*f h
end
transformer.norm_f w h
lm_head w v h
)";

// T5ForConditionalGeneration: two stacks; the first block of each has the position biases.
constexpr std::string_view kT5Rows = R"(
shared w v h
encoder.block.0.layer.0.SelfAttention.relative_attention_bias w b a
repeat 0 M encoder.block.#.
layer.0.SelfAttention.q w a*d h
layer.0.SelfAttention.k w a*d h
layer.0.SelfAttention.v w a*d h
layer.0.SelfAttention.o w h a*d
layer.0.layer_norm w h
layer.1.DenseReluDense.wi w f h
layer.1.DenseReluDense.wo w h f
layer.1.layer_norm w h
end
encoder.final_layer_norm w h
decoder.block.0.layer.0.SelfAttention.relative_attention_bias w b a
repeat 0 L decoder.block.#.
layer.0.SelfAttention.q w a*d h
layer.0.SelfAttention.k w a*d h
layer.0.SelfAttention.v w a*d h
layer.0.SelfAttention.o w h a*d
layer.0.layer_norm w h
layer.1.EncDecAttention.q w a*d h
layer.1.EncDecAttention.k w a*d h
layer.1.EncDecAttention.v w a*d h
layer.1.EncDecAttention.o w h a*d
layer.1.layer_norm w h
layer.2.DenseReluDense.wi w f h
layer.2.DenseReluDense.wo w h f
layer.2.layer_norm w h
end
decoder.final_layer_norm w h
)";

// Qwen2VLForConditionalGeneration: a vision tower beside the layers, tied.
constexpr std::string_view kQwenVlRows = R"(
visual.patch_embed.proj w i 3 2 14 14
repeat 0 M visual.blocks.#.
norm1 wb i
norm2 wb i
attn.qkv wb 3*i i
attn.proj wb i i
mlp.fc1 wb 4*i i
mlp.fc2 wb i 4*i
end
visual.merger.ln_q wb i
visual.merger.mlp.0 wb 4*i 4*i
visual.merger.mlp.2 wb h 4*i
model.embed_tokens w v h
repeat 0 L model.layers.#.
self_attn.q_proj wb a*d h
self_attn.k_proj wb k*d h
self_attn.v_proj wb k*d h
self_attn.o_proj w h a*d
mlp.gate_proj w f h
mlp.up_proj w f h
mlp.down_proj w h f
input_layernorm w h
post_attention_layernorm w h
end
model.norm w h
)";

// LlavaForConditionalGeneration: CLIP's tower, a projector, and a whole Llama below
// "language_model".
constexpr std::string_view kLlavaRows = R"(
vision_tower.vision_model.embeddings.class_embedding . i
vision_tower.vision_model.embeddings.patch_embedding w i 3 14 14
vision_tower.vision_model.embeddings.position_embedding w 577 i
vision_tower.vision_model.pre_layrnorm wb i
repeat 0 M vision_tower.vision_model.encoder.layers.#.
self_attn.k_proj wb i i
self_attn.v_proj wb i i
self_attn.q_proj wb i i
self_attn.out_proj wb i i
layer_norm1 wb i
mlp.fc1 wb 4*i i
mlp.fc2 wb i 4*i
layer_norm2 wb i
end
vision_tower.vision_model.post_layernorm wb i
multi_modal_projector.linear_1 wb h i
multi_modal_projector.linear_2 wb h h
language_model.model.embed_tokens w v h
repeat 0 L language_model.model.layers.#.
self_attn.q_proj w h h
self_attn.k_proj w h h
self_attn.v_proj w h h
self_attn.o_proj w h h
mlp.gate_proj w f h
mlp.up_proj w f h
mlp.down_proj w h f
input_layernorm w h
post_attention_layernorm w h
end
language_model.model.norm w h
language_model.lm_head w v h
)";

constexpr ModelTable kOthers[] = {
    {.name = "mixtral-8x22b",
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=6144/ f=16384/ v=32000/ a=48 k=8 d=128/ L=56 E=8",
     .rows = kMixtralRows,
     .config = "architectures/0='MixtralForCausalLM' model_type='mixtral' hidden_size=h "
               "intermediate_size=f num_hidden_layers=L num_attention_heads=a "
               "num_key_value_heads=k num_local_experts=E num_experts_per_tok=2 vocab_size=v "
               "tie_word_embeddings=false torch_dtype='bfloat16'"},
    {.name = "deepseek-v3",
     .split = {.shard_bytes = 8 * kGiB, .close_when_full = true, .total_digits = 6},
     .sizes = "h=7168/ f=2048/ g=18432/ v=129280/ a=128 q=1536/ c=512/ n=128/ r=64/ x=128/ L=61 "
              "K=3 E=256",
     .rows = kDeepseekRows,
     .config = "architectures/0='DeepseekV3ForCausalLM' model_type='deepseek_v3' hidden_size=h "
               "intermediate_size=g moe_intermediate_size=f num_hidden_layers=L "
               "num_nextn_predict_layers=1 first_k_dense_replace=K n_routed_experts=E "
               "n_shared_experts=1 num_experts_per_tok=8 num_attention_heads=a "
               "num_key_value_heads=a q_lora_rank=q kv_lora_rank=c qk_nope_head_dim=n "
               "qk_rope_head_dim=r v_head_dim=x vocab_size=v tie_word_embeddings=false "
               "torch_dtype='bfloat16' quantization_config/quant_method='fp8' "
               "quantization_config/fmt='e4m3' quantization_config/weight_block_size/0=128 "
               "quantization_config/weight_block_size/1=128",
     .cut_before_fp8 = true},
    {.name = "qwen3-30b-a3b-mlx-4bit",
     .split = {.shard_bytes = 5 * kGiB},
     .sizes = "h=2048/ f=768/ v=151936/ a=32 k=4 d=128/ L=48 E=128",
     .rows = kQwenMlxRows,
     .config = "architectures/0='Qwen3MoeForCausalLM' model_type='qwen3_moe' hidden_size=h "
               "moe_intermediate_size=f num_hidden_layers=L num_attention_heads=a "
               "num_key_value_heads=k head_dim=d num_experts=E num_experts_per_tok=8 vocab_size=v "
               "tie_word_embeddings=false torch_dtype='bfloat16' quantization/bits=4 "
               "quantization/group_size=64",
     .order = WriterOrder::kMlx},
    {.name = "dbrx",
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=6144/ f=10752/ v=100352/ a=48 k=8 d=128/ L=40 E=16",
     .rows = kDbrxRows,
     .config = "architectures/0='DbrxForCausalLM' model_type='dbrx' d_model=h n_layers=L n_heads=a "
               "attn_config/kv_n_heads=k ffn_config/ffn_hidden_size=f ffn_config/moe_num_experts=E "
               "ffn_config/moe_top_k=4 vocab_size=v tie_word_embeddings=false "
               "torch_dtype='bfloat16'"},
    {.name = "t5-base",
     .dtype = Dtype::kF32,
     .sizes = "h=768/ f=3072/ v=32128/ a=12 d=64/ b=32 L=12 M=12",
     .rows = kT5Rows,
     .config = "architectures/0='T5ForConditionalGeneration' model_type='t5' d_model=h d_ff=f "
               "d_kv=d num_layers=M num_decoder_layers=L num_heads=a "
               "relative_attention_num_buckets=b vocab_size=v is_encoder_decoder=true"},
    {.name = "qwen2-vl-2b",
     .split = {.shard_bytes = 4 * kGB},
     .sizes = "h=1536/ f=8960/ v=151936/ a=12 k=2 d=128/ i=1280/ L=28 M=32",
     .rows = kQwenVlRows,
     .config = "architectures/0='Qwen2VLForConditionalGeneration' model_type='qwen2_vl' "
               "hidden_size=h intermediate_size=f num_hidden_layers=L num_attention_heads=a "
               "num_key_value_heads=k vocab_size=v tie_word_embeddings=true "
               "vision_config/depth=M vision_config/embed_dim=i vision_config/hidden_size=h "
               "torch_dtype='bfloat16'"},
    {.name = "llava-1.5-7b",
     .dtype = Dtype::kF16,
     .split = {.shard_bytes = 5 * kGB},
     .sizes = "h=4096/ f=11008/ v=32064/ a=32 i=1024/ L=32 M=24",
     .rows = kLlavaRows,
     .config = "architectures/0='LlavaForConditionalGeneration' model_type='llava' "
               "text_config/model_type='llama' text_config/hidden_size=h "
               "text_config/intermediate_size=f text_config/num_hidden_layers=L "
               "text_config/num_attention_heads=a text_config/vocab_size=v "
               "vision_config/model_type='clip_vision_model' vision_config/hidden_size=i "
               "vision_config/num_hidden_layers=M torch_dtype='float16'"},
};

}  // namespace

std::span<const ModelTable> other_tables() { return kOthers; }

}  // namespace shardswarm
