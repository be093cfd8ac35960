#include "tests/support/families.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "piece/digest.h"
#include "piece/selection.h"
#include "piece/tiling.h"
#include "tests/piece/builder.h"
#include "tests/support/project.h"

namespace shardswarm::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kTensorsMax = 100'000;  // of one family: more is a mistake in a pattern

std::vector<std::string> numbers_in(const std::string& text) {
  std::vector<std::string> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const LayerRange range = must(parse_layer_range(part));
    for (std::uint32_t i = range.first; i <= range.last; ++i) numbers.push_back(std::to_string(i));
  }
  return numbers;
}

// "NAME DTYPE 4096,4096"; a scalar has no dimensions.
void add_tensors(const std::string& line, std::vector<FamilyTensor>& tensors) {
  std::istringstream words(line);
  std::string pattern;
  std::string dtype;
  std::string dims;
  words >> pattern >> dtype >> dims;
  const auto known = dtype_from_name(dtype);
  if (!known) throw std::runtime_error("'" + line + "' has no dtype");
  FamilyTensor tensor{.name = {}, .dtype = *known, .shape = {}};
  std::istringstream each(dims);
  for (std::string dim; std::getline(each, dim, ',');) tensor.shape.push_back(std::stoull(dim));
  for (std::string& name : expanded(pattern)) {
    tensor.name = std::move(name);
    tensors.push_back(tensor);
  }
  if (tensors.size() > kTensorsMax) throw std::runtime_error("'" + line + "': too many tensors");
}

Family parse(const Json& json) {
  Family family{.name = json.at("family"),
                .config = json.at("config").dump(),
                .tensors = {},
                .main = json.at("main"),
                .stacks = {}};
  if (json.at("source").empty()) throw std::runtime_error("it names no source");
  for (const auto& line : json.at("tensors")) add_tensors(line, family.tensors);
  for (const auto& [stack, needs] : json.at("stacks").items()) {
    StackNeeds& known = family.stacks[stack];
    known = {.layers = needs.at("layers"),
             .first = needs.at("first"),
             .middle = needs.at("middle"),
             .last = needs.at("last")};
    for (const auto* globs : {&known.first, &known.middle, &known.last}) {
      for (const std::string& glob : *globs) {
        const auto matches = [&](const FamilyTensor& tensor) {
          return glob_match(glob, tensor.name);
        };
        if (std::ranges::any_of(family.tensors, matches)) continue;
        throw std::runtime_error("'" + glob + "' names none of its tensors");
      }
    }
  }
  if (!family.stacks.contains(family.main)) throw std::runtime_error("'main' is not in 'stacks'");
  return family;
}

std::vector<Family> read_all() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(project_root() / "tests/piece/families")) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Family> families;
  for (const auto& file : files) {
    try {
      std::ifstream in(file);
      families.push_back(parse(Json::parse(in)));
    } catch (const std::exception& error) {
      throw std::runtime_error(file.string() + ": " + error.what());
    }
  }
  return families;
}

FileEntry plain(std::string path, std::uint64_t size) {
  return {.path = std::move(path),
          .size = size,
          .pieces = static_cast<std::uint32_t>(tile_bytes(size).pieces())};
}

}  // namespace

std::vector<std::string> expanded(const std::string& pattern) {
  std::vector<std::string> names = {""};
  std::size_t at = 0;
  while (at < pattern.size()) {
    const std::size_t open = std::min(pattern.find('{', at), pattern.size());
    for (std::string& name : names) name += pattern.substr(at, open - at);
    if (open == pattern.size()) break;
    const std::size_t close = pattern.find('}', open);
    if (close == std::string::npos) throw std::runtime_error("'" + pattern + "' lacks a '}'");
    std::vector<std::string> longer;
    for (const std::string& number : numbers_in(pattern.substr(open + 1, close - open - 1))) {
      for (const std::string& name : names) longer.push_back(name + number);
    }
    names = std::move(longer);
    at = close + 1;
  }
  return names;
}

bool named(const std::vector<std::string>& globs, const std::string& tensor) {
  return std::ranges::any_of(globs,
                             [&](const std::string& glob) { return glob_match(glob, tensor); });
}

const std::vector<Family>& families() {
  static const std::vector<Family> all = read_all();
  return all;
}

Manifest manifest_of(const Family& family) {
  std::vector<TensorSpec> specs;
  std::uint64_t pieces = 0;
  std::uint64_t bytes = 0;
  for (const FamilyTensor& tensor : family.tensors) {
    specs.push_back({tensor.name, tensor.shape, tensor.dtype});
    pieces += tile_tensor(tensor.dtype, tensor.shape).pieces();
    bytes += specs.back().bytes();
  }
  Bytes header = header_of(json_of(specs));
  ManifestRoot root;
  root.files.push_back(plain("config.json", family.config.size()));
  root.files.push_back({.path = "model.safetensors",
                        .size = header.size() + bytes,
                        .kind = FileKind::kTensors,
                        .pieces = static_cast<std::uint32_t>(pieces)});
  root.files[1].header_bytes = header.size();
  root.files[1].header_digest = sha256(header);
  Manifest manifest = must(Manifest::from_root(must(encode_root(root))));
  must(manifest.add_header(FileIndex(1), blob_of(std::move(header))));
  return manifest;
}

}  // namespace shardswarm::test
