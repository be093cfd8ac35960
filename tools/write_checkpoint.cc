// Writes a synthetic model: headers, content, indexes.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "piece/digest.h"
#include "piece/selection.h"
#include "tools/synthetic.h"

namespace shardswarm {
namespace {

using Tensors = std::vector<SyntheticTensor>;

constexpr std::size_t kBlockBytes = 4 << 20;

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
  // Dtype is declared in the order that the reference implementation compares.
  std::ranges::sort(tensors, [](const SyntheticTensor& a, const SyntheticTensor& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
}

// Put together as text: nlohmann's ordered objects look through all keys at each new one, which
// takes minutes for 92,000 tensors.
std::string header_of(const Tensors& tensors, WriterOrder order) {
  std::string text = fmt::format(R"({{"__metadata__":{{"format":"{}"}})",
                                 order == WriterOrder::kMlx ? "mlx" : "pt");
  std::uint64_t at = 0;
  for (const SyntheticTensor& tensor : tensors) {
    const std::uint64_t end = at + tensor_bytes(tensor);
    text += fmt::format(R"(,{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                        nlohmann::json(tensor.name).dump(), dtype_name(tensor.dtype),
                        nlohmann::json(tensor.shape).dump(), at, end);
    at = end;
  }
  text += '}';
  if (order == WriterOrder::kReference) text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  std::string header;
  for (int i = 0; i < 8; ++i) header.push_back(static_cast<char>(size >> (8 * i) & 0xff));
  return header + text;
}

// An output file; every write is checked. One thread at a time.
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

  // A hole of so many bytes after what was written.
  Result<void> extend(std::uint64_t size) {
    const off_t end = ::lseek(fd_, 0, SEEK_CUR);
    if (end < 0 || ::ftruncate(fd_, end + static_cast<off_t>(size)) != 0) {
      return fail_errno(errno, "cannot extend " + file_.string());
    }
    return {};
  }

 private:
  Output(int fd, std::filesystem::path file) : fd_(fd), file_(std::move(file)) {}
  int fd_;
  std::filesystem::path file_;
};

Result<Output> create_below(const std::filesystem::path& directory, const std::string& path) {
  std::error_code ec;
  std::filesystem::create_directories((directory / path).parent_path(), ec);
  if (ec) return fail_errno(ec.value(), "cannot create " + directory.string());
  return Output::create(directory / path);
}

// Pseudo-random bytes, a function of name and seed.
Result<void> write_content(Output& output, const std::string& name, std::uint64_t bytes,
                           std::uint64_t seed, std::span<std::uint64_t> block) {
  const std::uint64_t key = hash_of(name) + seed * 0xd1b54a32d192ed03U;
  for (std::uint64_t at = 0; at < bytes; at += kBlockBytes) {
    const std::size_t size = std::min<std::uint64_t>(kBlockBytes, bytes - at);
    fill(block.first((size + 7) / 8), key, at / 8);
    if (auto done = output.write(block.data(), size); !done) return done;
  }
  return {};
}

// What a tensor of a fine-tune is made from: no seed of a test.
constexpr std::uint64_t kChanged = 0x9216d5d98979fb1bU;

// Writes the tensors of one model; holds what all of its files need. One thread at a time.
class Writer {
 public:
  Writer(WriterOrder order, std::uint64_t seed, const WriteOptions& options)
      : order_(order),
        seed_(seed),
        options_(options),
        block_(kBlockBytes / sizeof(std::uint64_t)) {}

  Result<void> tensors(Output& output, Tensors tensors) {
    sort_as(order_, tensors);
    const std::string header = header_of(tensors, order_);
    if (auto done = output.write(header.data(), header.size()); !done) return done;
    if (options_.sparse) {
      std::uint64_t bytes = 0;
      for (const SyntheticTensor& tensor : tensors) bytes += tensor_bytes(tensor);
      return output.extend(bytes);
    }
    for (const SyntheticTensor& tensor : tensors) {
      const bool changed = std::ranges::any_of(
          options_.change, [&](const auto& glob) { return glob_match(glob, tensor.name); });
      auto done = write_content(output, tensor.name, tensor_bytes(tensor),
                                changed ? seed_ ^ kChanged : seed_, block_);
      if (!done) return done;
    }
    return {};
  }
  Result<void> opaque(Output& output, const std::string& path, std::uint64_t bytes) {
    return options_.sparse ? output.extend(bytes)
                           : write_content(output, path, bytes, seed_, block_);
  }

 private:
  WriterOrder order_;
  std::uint64_t seed_;
  const WriteOptions& options_;
  std::vector<std::uint64_t> block_;
};

// "a/model-00001-of-00002.safetensors" -> "a/model.safetensors.index.json"
std::string index_path(const std::string& shard) {
  const std::size_t of = shard.rfind("-of-");
  return shard.substr(0, shard.rfind('-', of - 1)) + ".safetensors.index.json";
}

// The index of every folder whose tensors lie in several files.
PlainFiles indexes_of(const SyntheticModel& model) {
  std::map<std::string, std::vector<const WeightFiles::value_type*>> folders;
  for (const auto& file : model.weight_files) {
    folders[std::filesystem::path(file.first).parent_path().string()].push_back(&file);
  }
  PlainFiles indexes;
  for (const auto& [folder, files] : folders) {
    if (files.size() < 2) continue;
    nlohmann::json weights = nlohmann::json::object();
    std::uint64_t bytes = 0;
    for (const auto* file : files) {
      const std::string name = std::filesystem::path(file->first).filename().string();
      for (const SyntheticTensor& tensor : file->second) {
        weights[tensor.name] = name;
        bytes += tensor_bytes(tensor);
      }
    }
    const nlohmann::json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", weights}};
    indexes.emplace_back(index_path(files.front()->first), index.dump(2) + "\n");
  }
  return indexes;
}

}  // namespace

Result<void> write_checkpoint(const SyntheticModel& model, const std::filesystem::path& directory,
                              std::uint64_t seed, const WriteOptions& options) {
  PlainFiles plain_files = model.index ? indexes_of(model) : PlainFiles{};
  plain_files.insert(plain_files.end(), model.plain_files.begin(), model.plain_files.end());
  for (const auto& [path, content] : plain_files) {
    auto output = create_below(directory, path);
    if (!output) return std::unexpected(output.error());
    if (auto done = output->write(content.data(), content.size()); !done) return done;
  }
  Writer writer(model.order, seed, options);
  for (const WeightFiles* files : {&model.weight_files, &model.spare_files}) {
    for (const auto& [path, tensors] : *files) {
      auto output = create_below(directory, path);
      if (!output) return std::unexpected(output.error());
      if (auto done = writer.tensors(*output, tensors); !done) return done;
    }
  }
  for (const auto& [path, bytes] : model.opaque_files) {
    auto output = create_below(directory, path);
    if (!output) return std::unexpected(output.error());
    if (auto done = writer.opaque(*output, path, bytes); !done) return done;
  }
  return {};
}

}  // namespace shardswarm
