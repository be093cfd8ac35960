#include "tests/storage/varied.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "piece/safetensors.h"

namespace shardswarm::test {

Bytes safetensors_of(const std::vector<VariedTensor>& tensors, std::uint64_t seed,
                     const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (const VariedTensor& tensor : tensors) {
    json[tensor.name] = {{"dtype", dtype_name(tensor.dtype)},
                         {"shape", tensor.shape},
                         {"data_offsets", {at, at + tensor.bytes()}}};
    at += tensor.bytes();
  }
  const std::string text = json.dump();
  Bytes file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>(text.size() >> (8 * i)));
  const Bytes head = bytes_of(text);
  file.insert(file.end(), head.begin(), head.end());
  const Bytes data = noise(at, seed);
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

std::vector<std::uint64_t> varied_shape(Random& random) {
  switch (below(random, 12)) {
    case 0:
      return {};
    case 1:
      return {0, 3};
    case 2:
      return {below(random, 300) + 1};
    case 3:
      return {below(random, 6) + 1, 3, below(random, 9) + 1};
    case 4:
      return {20, 70'000};  // pieces of one MiB, and rows across them
    default:
      return {2 * (below(random, 20) + 1), 2 * (below(random, 200) + 1)};
  }
}

Files varied_checkpoint(Random& random) {
  static const std::vector<Dtype> dtypes = {Dtype::kU8,  Dtype::kBF16, Dtype::kF32,
                                            Dtype::kF64, Dtype::kF4,   Dtype::kBool};
  Files files;
  files["config.json"] = bytes_of("{\"x\":" + std::to_string(random()) + "}");
  files["empty.txt"] = {};
  const std::vector<std::string> folders = {"", "vae/"};
  for (std::uint64_t c = 0; c < below(random, 2) + 1; ++c) {
    std::map<std::uint64_t, std::vector<VariedTensor>> parts;
    const auto add = [&](const std::string& name) {
      VariedTensor tensor{.name = name, .shape = varied_shape(random)};
      if (tensor.shape.size() >= 2 && tensor.shape.back() % 2 == 0) {
        tensor.dtype = dtypes[below(random, dtypes.size())];
      }
      parts[below(random, 3)].push_back(std::move(tensor));
    };
    for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
                             "odd/name with 'quotes' \xc3\xa9"}) {
      add(name);
    }
    for (const char* stack : {"model.layers.", "encoder.h."}) {
      for (std::uint64_t layer = 0; layer < below(random, 3) + 2; ++layer) {
        for (const char* name : {".q_proj.weight", ".mlp.weight", ".scale"}) {
          add(stack + std::to_string(layer) + name);
        }
      }
    }
    for (const auto& [number, tensors] : parts) {
      files[folders[c] + "part-" + std::to_string(number) + ".safetensors"] = safetensors_of(
          tensors, random(), {{"format", "pt"}, {"of", folders[c] + std::to_string(number)}});
    }
    if (below(random, 2) == 0) {
      files[folders[c] + "model.safetensors.index.json"] = bytes_of("{\"the\":\"original\"}");
    }
  }
  return files;
}

Selection varied_selection(Random& random) {
  Selection selection;
  switch (below(random, 5)) {
    case 0:
      break;
    case 1:
      selection.layers = {{0, static_cast<std::uint32_t>(below(random, 2))}};
      break;
    case 2:
      selection.layers = {{1, 1}};
      break;
    case 3:
      selection.tensors = {"*.q_proj.weight", "model.norm.weight"};
      break;
    default:
      selection.tensors = {below(random, 2) == 0 ? "*.mlp.*" : "odd*", "lm_head*"};
  }
  return selection;
}

std::vector<std::string> tensors_files(const std::filesystem::path& directory) {
  std::vector<std::string> paths;
  for (auto it = std::filesystem::recursive_directory_iterator(directory);
       it != std::filesystem::recursive_directory_iterator(); ++it) {
    if (it->path().filename().string().starts_with('.')) it.disable_recursion_pending();
    const std::string path = it->path().lexically_relative(directory).generic_string();
    if (it->is_regular_file() && path.ends_with(".safetensors")) paths.push_back(path);
  }
  std::ranges::sort(paths);
  return paths;
}

SeenTensors look_into(const std::filesystem::path& directory,
                      const std::vector<std::string>& paths) {
  SeenTensors seen;
  for (const std::string& path : paths) {
    const Bytes file = read_file(directory / path);
    const auto length = safetensors_header_bytes(file);
    EXPECT_TRUE(length) << path;
    if (!length || *length > file.size()) {
      ADD_FAILURE() << path << " ends in its header";
      continue;
    }
    const auto header = parse_safetensors_header(std::span(file).first(*length));
    EXPECT_TRUE(header) << path << ": " << (header ? "" : header.error().message);
    if (!header) continue;
    EXPECT_EQ(header->header_bytes + header->data_bytes, file.size()) << path;
    EXPECT_EQ(header->header_bytes % 4096, 0U) << path;
    for (const TensorInfo& info : header->tensors) {
      const std::uint64_t align = std::max<std::uint64_t>(dtype_bits(info.dtype) / 8, 1);
      EXPECT_EQ(info.begin % align, 0U) << path << ": " << info.name;
      const auto data = std::span(file).subspan(header->header_bytes + info.begin, info.bytes());
      const bool fresh = seen.emplace(folder_of_path(path) + info.name,
                                      SeenTensor{.dtype = info.dtype,
                                                 .shape = info.shape,
                                                 .bytes = {data.begin(), data.end()},
                                                 .file = path})
                             .second;
      EXPECT_TRUE(fresh) << info.name << " stands in two files";
    }
  }
  return seen;
}

nlohmann::json json_in(const std::filesystem::path& file) {
  const Bytes bytes = read_file(file);
  return nlohmann::json::parse(
      std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

SeenTensors originals(const TensorSet& set, const Manifest& manifest, const Files& files) {
  SeenTensors all;
  for (const TensorRows& rows : set) {
    const FileEntry& file = manifest.file(rows.file);
    const TensorInfo& info = info_of(manifest, rows);
    SeenTensor tensor{.dtype = info.dtype, .shape = info.shape, .bytes = {}, .file = {}};
    std::uint64_t begin = 0;
    std::uint64_t end = info.bytes();
    if (rows.rows != Rows{0, row_count(info)}) {
      const std::uint64_t row = info.bytes() / info.shape[0];
      begin = rows.rows.begin * row;
      end = rows.rows.end * row;
      tensor.shape[0] = rows.rows.end - rows.rows.begin;
    }
    const auto data =
        std::span(files.at(file.path)).subspan(file.header_bytes + info.begin + begin, end - begin);
    tensor.bytes.assign(data.begin(), data.end());
    all.emplace(folder_of_path(file.path) + info.name, std::move(tensor));
  }
  return all;
}

void expect_tensors(SeenTensors seen, const SeenTensors& expected) {
  EXPECT_EQ(seen.size(), expected.size());
  for (auto& [name, tensor] : seen) {
    const auto at = expected.find(name);
    if (at == expected.end()) {
      ADD_FAILURE() << name << " is not wanted";
      continue;
    }
    EXPECT_EQ(tensor.dtype, at->second.dtype) << name;
    EXPECT_EQ(tensor.shape, at->second.shape) << name;
    EXPECT_TRUE(tensor.bytes == at->second.bytes) << name << " has other bytes";
  }
}

void expect_index_and_shard(const std::filesystem::path& directory, const SeenTensors& seen) {
  std::map<std::string, std::string> indexed;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string path = entry.path().lexically_relative(directory).generic_string();
    if (path.starts_with(".") || !path.ends_with(".safetensors.index.json")) continue;
    const auto json = json_in(entry.path());
    std::uint64_t bytes = 0;
    for (const auto& [name, file] : json.at("weight_map").items()) {
      const std::string full = folder_of_path(path) + name;
      indexed[full] = folder_of_path(path) + file.get<std::string>();
      if (seen.contains(full)) bytes += seen.at(full).bytes.size();
    }
    EXPECT_EQ(json.at("metadata").at("total_size").get<std::uint64_t>(), bytes) << path;
  }
  std::map<std::string, std::string> found;
  std::set<std::string> files;
  for (const auto& [name, tensor] : seen) {
    found[name] = tensor.file;
    files.insert(tensor.file);
  }
  EXPECT_EQ(indexed, found);
  const auto shard = json_in(directory / "shard.json");
  EXPECT_TRUE(shard.at("complete").get<bool>());
  EXPECT_EQ(shard.at("tensors").get<std::size_t>(), seen.size());
  std::set<std::string> named;
  for (const auto& file : shard.at("files")) named.insert(file.at("path").get<std::string>());
  EXPECT_EQ(named, files);
}

std::pair<std::uint64_t, std::int64_t> mark_of(const std::filesystem::path& file) {
  struct stat status{};
  EXPECT_EQ(::stat(file.c_str(), &status), 0) << file;
  return {status.st_ino, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
}

}  // namespace shardswarm::test
