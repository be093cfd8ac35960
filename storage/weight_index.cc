#include "storage/weight_index.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/file.h"
#include "base/limits.h"

namespace shardswarm {
namespace {

constexpr std::uint64_t kIndexBytesMax = 256 * limits::kMiB;
constexpr std::string_view kIndexMark = ".safetensors.index.";
constexpr std::string_view kJson = "json";

bool digit(char c) { return c >= '0' && c <= '9'; }

// Takes "-00001-of-00002" off the end of `text`.
void take_shard(std::string& text, WeightsName& name) {
  constexpr std::string_view kOf = "-of-";
  const std::size_t of = text.rfind(kOf);
  if (of == std::string::npos || of == 0) return;
  const std::size_t dash = text.rfind('-', of - 1);
  if (dash == std::string::npos) return;
  const auto number = [&](std::size_t from, std::size_t to, std::uint32_t& value) {
    const auto parsed = std::from_chars(text.data() + from, text.data() + to, value);
    return from < to && parsed.ec == std::errc{} && parsed.ptr == text.data() + to;
  };
  std::uint32_t shard = 0;
  std::uint32_t shards = 0;
  if (!number(dash + 1, of, shard) || !number(of + kOf.size(), text.size(), shards)) return;
  name.shard = shard;
  name.shards = shards;
  // Some writers have two dashes: "model--00001-of-00007".
  text.erase(text.find_last_not_of('-', dash) + 1);
}

// A word "rank" or "tp" followed by a number, with one of - _ . or nothing between them.
bool names_rank(std::string_view stem) {
  constexpr std::string_view kBetween = "-_.";
  std::string text(stem);
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string_view word : {std::string_view("rank"), std::string_view("tp")}) {
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
      if (at > 0 && kBetween.find(text[at - 1]) == std::string_view::npos) continue;
      std::size_t next = at + word.size();
      if (next < text.size() && kBetween.find(text[next]) != std::string_view::npos) ++next;
      if (next < text.size() && digit(text[next])) return true;
    }
  }
  return false;
}

}  // namespace

std::optional<IndexName> index_name(std::string_view name) {
  const std::size_t mark = name.find(kIndexMark);
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  const std::string_view rest = name.substr(mark + kIndexMark.size());
  if (rest == kJson) return IndexName{.base = name.substr(0, mark)};
  const bool variant = rest.size() > kJson.size() + 1 && rest.ends_with(".json") &&
                       rest.find('.') == rest.size() - kJson.size() - 1;
  if (!variant) return std::nullopt;
  return IndexName{.base = name.substr(0, mark), .variant = true};
}

std::uint32_t index_rank(const IndexName& name) {
  if (name.variant) return 4;
  if (name.base == "model") return 0;
  if (name.base == "diffusion_pytorch_model") return 1;
  return name.base.starts_with("consolidated") || name.base.starts_with("adapter_model") ? 3 : 2;
}

WeightsName weights_name(std::string_view file) {
  WeightsName name;
  std::string stem(file.substr(0, file.size() - kTensorsEnding.size()));
  name.rank = names_rank(stem);
  take_shard(stem, name);
  // "model.fp16", "model.fp16-00001-of-00002" and "model-00001-of-00002.fp16" are of one variant.
  const std::size_t dot = stem.find('.');
  if (dot != std::string::npos && dot > 0 && dot + 1 < stem.size()) {
    name.variant = stem.substr(dot + 1);
    stem.erase(dot);
    take_shard(stem, name);
  }
  name.base = std::move(stem);
  return name;
}

Result<WeightMap> read_weight_map(const std::filesystem::path& location, std::string_view folder) {
  auto bytes = read_small_file(location, kIndexBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->empty()) return fail(Errc::kMalformed, "it is empty");
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto error =
      parser.parse(reinterpret_cast<const char*>(bytes->data()), bytes->size(), true).get(root);
  if (error != simdjson::SUCCESS) {
    return fail(Errc::kMalformed,
                std::string("it is not valid JSON: ") + simdjson::error_message(error));
  }
  simdjson::dom::object entries;
  if (root["weight_map"].get(entries) != simdjson::SUCCESS) {
    return fail(Errc::kMalformed, "it has no weight_map");
  }
  WeightMap map;
  for (const auto& [tensor, file] : entries) {
    std::string_view name;
    if (file.get(name) != simdjson::SUCCESS) {
      return fail(Errc::kMalformed, "its weight_map holds something else than names of files");
    }
    while (name.starts_with("./")) name.remove_prefix(2);
    map.insert_or_assign(std::string(tensor), std::string(folder) + std::string(name));
  }
  return map;
}

}  // namespace shardswarm
