#include "tools/synthetic.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <numeric>

#include "piece/digest.h"

namespace shardswarm {
namespace {

using Json = nlohmann::ordered_json;
using Tensors = std::vector<SyntheticTensor>;

constexpr std::size_t kBlockBytes = 4 << 20;

std::uint64_t bytes_of(const SyntheticTensor& tensor) {
  const std::uint64_t elements = std::accumulate(tensor.shape.begin(), tensor.shape.end(),
                                                 std::uint64_t{1}, std::multiplies<>());
  return elements * dtype_bits(tensor.dtype) / 8;
}

std::uint64_t hash_of(std::string_view text) {
  return xxh3_64(std::as_bytes(std::span(text.data(), text.size())));
}

// splitmix64 of a counter: every 8 bytes their own function of tensor and position.
void fill(std::span<std::uint64_t> words, std::uint64_t key, std::uint64_t first) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::uint64_t z = key + (first + i + 1) * 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    words[i] = z ^ (z >> 31);
  }
}

void sort_as(WriterOrder order, Tensors& tensors) {
  if (order == WriterOrder::kMlx) {
    std::ranges::sort(tensors, {}, [](const SyntheticTensor& t) { return hash_of(t.name); });
    return;
  }
  std::ranges::sort(tensors, [](const SyntheticTensor& a, const SyntheticTensor& b) {
    const auto left = dtype_bits(a.dtype);
    const auto right = dtype_bits(b.dtype);
    return left != right ? left > right : a.name < b.name;
  });
}

std::string header_of(const Tensors& tensors, WriterOrder order) {
  Json json = {{"__metadata__", {{"format", order == WriterOrder::kMlx ? "mlx" : "pt"}}}};
  std::uint64_t at = 0;
  for (const SyntheticTensor& tensor : tensors) {
    const std::uint64_t end = at + bytes_of(tensor);
    json[tensor.name] = {
        {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = json.dump();
  if (order == WriterOrder::kReference) text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  std::string header;
  for (int i = 0; i < 8; ++i) header.push_back(static_cast<char>(size >> (8 * i) & 0xff));
  return header + text;
}

// An output file; every write is checked.
class Output {
 public:
  static Result<Output> create(const std::filesystem::path& file) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return fail_errno(errno, "cannot create " + file.string());
    return Output(fd, file);
  }
  Output(Output&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), file_(std::move(other.file_)) {}
  Output& operator=(Output&&) = delete;
  ~Output() {
    if (fd_ >= 0) ::close(fd_);
  }
  Result<void> write(const void* data, std::size_t size) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t wrote = ::write(fd_, from, size);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return fail_errno(errno, "cannot write " + file_.string());
      from += wrote;
      size -= static_cast<std::size_t>(wrote);
    }
    return {};
  }

 private:
  Output(int fd, std::filesystem::path file) : fd_(fd), file_(std::move(file)) {}
  int fd_;
  std::filesystem::path file_;
};

Result<void> write_tensors(const std::filesystem::path& file, Tensors tensors, WriterOrder order,
                           std::uint64_t seed) {
  auto output = Output::create(file);
  if (!output) return std::unexpected(output.error());
  sort_as(order, tensors);
  const std::string header = header_of(tensors, order);
  if (auto done = output->write(header.data(), header.size()); !done) return done;
  std::vector<std::uint64_t> block(kBlockBytes / sizeof(std::uint64_t));
  for (const SyntheticTensor& tensor : tensors) {
    const std::uint64_t key = hash_of(tensor.name) + seed * 0xd1b54a32d192ed03U;
    const std::uint64_t bytes = bytes_of(tensor);
    for (std::uint64_t at = 0; at < bytes; at += kBlockBytes) {
      const std::size_t size = std::min<std::uint64_t>(kBlockBytes, bytes - at);
      fill(std::span(block).first((size + 7) / 8), key, at / 8);
      if (auto done = output->write(block.data(), size); !done) return done;
    }
  }
  return {};
}

std::string index_of(const SyntheticModel& model) {
  Json weights = Json::object();
  for (const auto& [path, tensors] : model.weight_files) {
    for (const SyntheticTensor& tensor : tensors) weights[tensor.name] = path;
  }
  const Json index = {{"metadata", {{"total_size", tensor_bytes(model)}}}, {"weight_map", weights}};
  return index.dump(2) + "\n";
}

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

  // Consecutive tensors to each file, about the same bytes.
  SyntheticModel finish() {
    SyntheticModel model;
    std::uint64_t total = 0;
    for (const SyntheticTensor& tensor : tensors_) total += bytes_of(tensor);
    const std::uint32_t files = std::max(1U, shape_.files);
    model.weight_files.resize(files);
    for (std::uint32_t i = 0; i < files; ++i) {
      model.weight_files[i].first =
          files == 1 ? "model.safetensors"
                     : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files);
    }
    std::uint64_t before = 0;
    for (SyntheticTensor& tensor : tensors_) {
      const auto file =
          std::min<std::uint64_t>(files - 1, before * files / std::max<std::uint64_t>(1, total));
      before += bytes_of(tensor);
      model.weight_files[file].second.push_back(std::move(tensor));
    }
    const Json config = {{"model_type", type_},
                         {"hidden_size", shape_.hidden},
                         {"intermediate_size", shape_.intermediate},
                         {"num_hidden_layers", shape_.layers},
                         {"num_attention_heads", shape_.heads},
                         {"num_key_value_heads", shape_.kv_heads},
                         {"vocab_size", shape_.vocabulary},
                         {"tie_word_embeddings", shape_.tied}};
    model.plain_files = {{"config.json", config.dump(2) + "\n"},
                         {"tokenizer_config.json", "{\"model_max_length\": 8192}\n"},
                         {"tokenizer.json", tokenizer()}};
    return model;
  }

 private:
  std::string tokenizer() const {
    Json vocabulary = Json::object();
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(shape_.vocabulary, 4096); ++i) {
      vocabulary[fmt::format("token{}", i)] = i;
    }
    return Json{{"model", {{"type", "BPE"}, {"vocab", vocabulary}}}}.dump() + "\n";
  }

  TransformerShape shape_;
  std::string type_;
  Tensors tensors_;
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

std::uint64_t tensor_bytes(const SyntheticModel& model) {
  std::uint64_t bytes = 0;
  for (const auto& [path, tensors] : model.weight_files) {
    for (const SyntheticTensor& tensor : tensors) bytes += bytes_of(tensor);
  }
  return bytes;
}

Result<void> write_checkpoint(const SyntheticModel& model, const std::filesystem::path& directory,
                              std::uint64_t seed) {
  auto plain_files = model.plain_files;
  if (model.index && model.weight_files.size() > 1) {
    plain_files.emplace_back("model.safetensors.index.json", index_of(model));
  }
  for (const auto& [path, content] : plain_files) {
    std::error_code ec;
    std::filesystem::create_directories((directory / path).parent_path(), ec);
    if (ec) return fail_errno(ec.value(), "cannot create " + directory.string());
    auto output = Output::create(directory / path);
    if (!output) return std::unexpected(output.error());
    if (auto done = output->write(content.data(), content.size()); !done) return done;
  }
  for (const auto& [path, tensors] : model.weight_files) {
    if (auto done = write_tensors(directory / path, tensors, model.order, seed); !done) return done;
  }
  return {};
}

}  // namespace shardswarm
