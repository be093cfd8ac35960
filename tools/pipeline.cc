#include "tools/pipeline.h"

#include <nlohmann/json.hpp>

#include "tools/real_model.h"

namespace shardswarm {
namespace {

// The names of diffusers' SD3Transformer2DModel, of CLIP's text model and of AutoencoderKL, each
// with the tensors that show its structure; sizes of our own.
constexpr ModelTable kTransformer{
    .name = "transformer",
    .sizes = "h=192 f=768 t=128 L=6",
    .rows = R"(
pos_embed.proj wb h 16 2 2
context_embedder wb h t
time_text_embed.timestep_embedder.linear_1 wb h 256
repeat 0 L transformer_blocks.#.
norm1.linear wb 6*h h
norm1_context.linear wb 6*h h
attn.to_q wb h h
attn.to_k wb h h
attn.to_v wb h h
attn.add_q_proj wb h h
attn.add_k_proj wb h h
attn.add_v_proj wb h h
attn.to_out.0 wb h h
attn.to_add_out wb h h
ff.net.0.proj wb f h
ff.net.2 wb h f
ff_context.net.0.proj wb f h
ff_context.net.2 wb h f
end
norm_out.linear wb 2*h h
proj_out wb 64 h
)",
    .config =
        "_class_name='SD3Transformer2DModel' num_layers=L attention_head_dim=32 "
        "num_attention_heads=6 joint_attention_dim=t"};

constexpr ModelTable kTextEncoder{
    .name = "text_encoder",
    .dtype = Dtype::kF16,
    .sizes = "h=128 f=512 v=1024 p=77 L=4",
    .rows = R"(
text_model.embeddings.token_embedding w v h
text_model.embeddings.position_embedding w p h
repeat 0 L text_model.encoder.layers.#.
self_attn.k_proj wb h h
self_attn.v_proj wb h h
self_attn.q_proj wb h h
self_attn.out_proj wb h h
layer_norm1 wb h
mlp.fc1 wb f h
mlp.fc2 wb h f
layer_norm2 wb h
end
text_model.final_layer_norm wb h
text_projection w h h
)",
    .config =
        "architectures/0='CLIPTextModelWithProjection' model_type='clip_text_model' "
        "hidden_size=h intermediate_size=f num_hidden_layers=L vocab_size=v"};

constexpr ModelTable kVae{.name = "vae",
                          .dtype = Dtype::kF32,
                          .sizes = "c=32 z=16 L=4",
                          .rows = R"(
encoder.conv_in wb c 3 3 3
repeat 0 L encoder.down_blocks.#.
resnets.0.norm1 wb c
resnets.0.conv1 wb c c 3 3
resnets.0.norm2 wb c
resnets.0.conv2 wb c c 3 3
end
encoder.conv_out wb 2*z c 3 3
decoder.conv_in wb c z 3 3
repeat 0 L decoder.up_blocks.#.
resnets.0.norm1 wb c
resnets.0.conv1 wb c c 3 3
resnets.0.norm2 wb c
resnets.0.conv2 wb c c 3 3
end
decoder.conv_out wb 3 c 3 3
)",
                          .config = "_class_name='AutoencoderKL' latent_channels=z"};

void add_component(SyntheticModel& model, const ModelTable& table, const RealModelOptions& options,
                   std::uint32_t files, std::string_view stem) {
  const std::string folder = std::string(table.name) + "/";
  std::vector<SyntheticTensor> tensors;
  for (PlannedTensor& planned : tensors_of(table, options)) {
    tensors.push_back(std::move(planned.tensor));
  }
  for (auto& [path, in_file] : split_evenly(std::move(tensors), files, stem)) {
    model.weight_files.emplace_back(folder + path, std::move(in_file));
  }
  model.plain_files.emplace_back(folder + "config.json", config_of(table, options));
}

}  // namespace

SyntheticModel diffusion_pipeline(const PipelineOptions& options) {
  constexpr std::string_view kStem = "diffusion_pytorch_model";
  SyntheticModel model;
  add_component(model, kTransformer, {.layers = options.layers}, options.files, kStem);
  add_component(model, kTextEncoder, {}, 1, "model");
  add_component(model, kVae, {}, 1, kStem);
  const nlohmann::json index = {{"_class_name", "StableDiffusion3Pipeline"},
                                {"scheduler", {"diffusers", "FlowMatchEulerDiscreteScheduler"}},
                                {"text_encoder", {"transformers", "CLIPTextModelWithProjection"}},
                                {"tokenizer", {"transformers", "CLIPTokenizer"}},
                                {"transformer", {"diffusers", "SD3Transformer2DModel"}},
                                {"vae", {"diffusers", "AutoencoderKL"}}};
  model.plain_files.emplace_back("model_index.json", index.dump(2) + "\n");
  model.plain_files.emplace_back("scheduler/scheduler_config.json",
                                 "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\"}\n");
  for (const auto& [path, content] : tokenizer_files(1024)) {
    model.plain_files.emplace_back("tokenizer/" + path, content);
  }
  return model;
}

}  // namespace shardswarm
