#include "tools/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tools/sharding.h"

namespace shardswarm {
namespace {

using Json = nlohmann::ordered_json;

// Collects a model's tensors; finish() spreads them over the files.
class Builder {
 public:
  Builder(std::string type, const TransformerShape& shape)
      : shape_(shape), type_(std::move(type)) {}

  void add(std::string name, std::vector<std::uint64_t> dims) {
    add(std::move(name), std::move(dims), shape_.dtype);
  }
  void add(std::string name, std::vector<std::uint64_t> dims, Dtype dtype) {
    tensors_.push_back({std::move(name), dtype, std::move(dims)});
  }
  // With one F32 scale for each 128 x 128 block, as DeepSeek's FP8 checkpoints have.
  void add_fp8(const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    add(name + ".weight", {rows, columns}, Dtype::kF8E4M3);
    add(name + ".weight_scale_inv", {(rows + 127) / 128, (columns + 127) / 128}, Dtype::kF32);
  }
  void attention(const std::string& layer) {
    const std::uint64_t head = shape_.hidden / shape_.heads;
    add(layer + "self_attn.q_proj.weight", {shape_.hidden, shape_.hidden});
    add(layer + "self_attn.k_proj.weight", {head * shape_.kv_heads, shape_.hidden});
    add(layer + "self_attn.v_proj.weight", {head * shape_.kv_heads, shape_.hidden});
    add(layer + "self_attn.o_proj.weight", {shape_.hidden, shape_.hidden});
    add(layer + "input_layernorm.weight", {shape_.hidden});
    add(layer + "post_attention_layernorm.weight", {shape_.hidden});
  }
  void outside() {
    add("model.embed_tokens.weight", {shape_.vocabulary, shape_.hidden});
    add("model.norm.weight", {shape_.hidden});
    if (!shape_.tied) add("lm_head.weight", {shape_.vocabulary, shape_.hidden});
  }

  SyntheticModel finish() {
    SyntheticModel model;
    model.weight_files = split_evenly(std::move(tensors_), shape_.files, "model");
    const Json config = {{"model_type", type_},
                         {"hidden_size", shape_.hidden},
                         {"intermediate_size", shape_.intermediate},
                         {"num_hidden_layers", shape_.layers},
                         {"num_attention_heads", shape_.heads},
                         {"num_key_value_heads", shape_.kv_heads},
                         {"vocab_size", shape_.vocabulary},
                         {"tie_word_embeddings", shape_.tied}};
    model.plain_files = tokenizer_files(shape_.vocabulary);
    model.plain_files.emplace_back("config.json", config.dump(2) + "\n");
    return model;
  }

 private:
  TransformerShape shape_;
  std::string type_;
  std::vector<SyntheticTensor> tensors_;
};

std::string layer_name(std::uint32_t layer) { return fmt::format("model.layers.{}.", layer); }

}  // namespace

SyntheticModel llama_model(const TransformerShape& shape) {
  Builder builder("llama", shape);
  builder.outside();
  for (std::uint32_t i = 0; i < shape.layers; ++i) {
    const std::string layer = layer_name(i);
    builder.attention(layer);
    builder.add(layer + "mlp.gate_proj.weight", {shape.intermediate, shape.hidden});
    builder.add(layer + "mlp.up_proj.weight", {shape.intermediate, shape.hidden});
    builder.add(layer + "mlp.down_proj.weight", {shape.hidden, shape.intermediate});
  }
  return builder.finish();
}

SyntheticModel mixtral_model(const TransformerShape& shape) {
  Builder builder("mixtral", shape);
  builder.outside();
  for (std::uint32_t i = 0; i < shape.layers; ++i) {
    const std::string layer = layer_name(i);
    builder.attention(layer);
    builder.add(layer + "block_sparse_moe.gate.weight", {shape.experts, shape.hidden});
    for (std::uint32_t e = 0; e < shape.experts; ++e) {
      const std::string expert = fmt::format("{}block_sparse_moe.experts.{}.", layer, e);
      builder.add(expert + "w1.weight", {shape.intermediate, shape.hidden});
      builder.add(expert + "w2.weight", {shape.hidden, shape.intermediate});
      builder.add(expert + "w3.weight", {shape.intermediate, shape.hidden});
    }
  }
  return builder.finish();
}

SyntheticModel deepseek_model(const TransformerShape& shape) {
  Builder builder("deepseek_v3", shape);
  builder.outside();
  const auto mlp = [&](const std::string& name) {
    builder.add_fp8(name + "gate_proj", shape.intermediate, shape.hidden);
    builder.add_fp8(name + "up_proj", shape.intermediate, shape.hidden);
    builder.add_fp8(name + "down_proj", shape.hidden, shape.intermediate);
  };
  for (std::uint32_t i = 0; i <= shape.layers; ++i) {
    const std::string layer = layer_name(i);
    builder.attention(layer);
    if (i == 0) {
      mlp(layer + "mlp.");
      continue;
    }
    builder.add(layer + "mlp.gate.weight", {shape.experts, shape.hidden});
    builder.add(layer + "mlp.gate.e_score_correction_bias", {shape.experts}, Dtype::kF32);
    for (std::uint32_t e = 0; e < shape.experts; ++e) {
      mlp(fmt::format("{}mlp.experts.{}.", layer, e));
    }
    mlp(layer + "mlp.shared_experts.");
  }
  const std::string head = layer_name(shape.layers);  // the MTP head's own
  builder.add(head + "enorm.weight", {shape.hidden});
  builder.add(head + "hnorm.weight", {shape.hidden});
  builder.add(head + "eh_proj.weight", {shape.hidden, 2 * shape.hidden});
  return builder.finish();
}

PlainFiles tokenizer_files(std::uint64_t vocabulary) {
  nlohmann::json tokens = nlohmann::json::object();
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(vocabulary, 4096); ++i) {
    tokens[fmt::format("token{}", i)] = i;
  }
  return {{"tokenizer_config.json", "{\"model_max_length\": 8192}\n"},
          {"tokenizer.json", Json{{"model", {{"type", "BPE"}, {"vocab", tokens}}}}.dump() + "\n"}};
}

Result<void> add_consolidated(SyntheticModel& model) {
  if (model.weight_files.size() < 2) {
    return fail(Errc::kUsage, "consolidated files stand beside an index: ask for several files");
  }
  std::vector<SyntheticTensor> tensors;
  for (const auto& [path, in_file] : model.weight_files) {
    for (SyntheticTensor tensor : in_file) {
      constexpr std::string_view kPrefix = "model.";  // the authors' formats have none
      if (tensor.name.starts_with(kPrefix)) tensor.name.erase(0, kPrefix.size());
      tensors.push_back(std::move(tensor));
    }
  }
  model.spare_files.emplace_back("consolidated.safetensors", std::move(tensors));
  model.opaque_files.emplace_back("original/consolidated.00.pth", tensor_bytes(model));
  return {};
}

std::uint64_t tensor_bytes(const SyntheticTensor& tensor) {
  const std::uint64_t elements = std::accumulate(tensor.shape.begin(), tensor.shape.end(),
                                                 std::uint64_t{1}, std::multiplies<>());
  return elements * dtype_bits(tensor.dtype) / 8;
}

std::uint64_t tensor_bytes(const SyntheticModel& model) {
  std::uint64_t bytes = 0;
  for (const auto& [path, tensors] : model.weight_files) {
    for (const SyntheticTensor& tensor : tensors) bytes += tensor_bytes(tensor);
  }
  return bytes;
}

}  // namespace shardswarm
