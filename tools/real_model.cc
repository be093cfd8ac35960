#include "tools/real_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <ranges>

namespace shardswarm {
namespace {

using Dims = std::vector<std::uint64_t>;

// Parts between separators, empty ones left out.
std::vector<std::string_view> parts(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> found;
  while (true) {
    const std::size_t begin = text.find_first_not_of(separators);
    if (begin == std::string_view::npos) return found;
    const std::size_t end = std::min(text.size(), text.find_first_of(separators, begin));
    found.push_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

std::uint64_t number(std::string_view digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

// The sizes of a table by their names. One thread at a time.
class Sizes {
 public:
  Sizes(std::string_view text, const RealModelOptions& options) {
    for (const std::string_view word : parts(text, " ")) {
      const std::size_t equals = word.find('=');
      std::uint64_t value = number(word.substr(equals + 1));
      if (options.divide > 1 && word.back() == '/') {
        value = std::max<std::uint64_t>(1, value / options.divide | (value & 1));
      }
      values_[std::string(word.substr(0, equals))] = value;
    }
    if (options.vocabulary) values_["v"] = *options.vocabulary;
    if (options.experts && values_.contains("E")) values_["E"] = *options.experts;
    if (!options.layers) return;
    values_["L"] = *options.layers;
    cap("M", *options.layers);
    cap("K", *options.layers - std::min(1U, *options.layers));  // leave one with experts
  }

  // "a*n+2*r"
  std::uint64_t value(std::string_view sum) const {
    std::uint64_t total = 0;
    for (const std::string_view product : parts(sum, "+")) {
      std::uint64_t factor = 1;
      for (const std::string_view word : parts(product, "*")) {
        const bool digits = word.front() >= '0' && word.front() <= '9';
        factor *= digits ? number(word) : values_.at(std::string(word));
      }
      total += factor;
    }
    return total;
  }
  std::uint64_t at(const std::string& name) const { return values_.at(name); }
  bool has(const std::string& name) const { return values_.contains(name); }

 private:
  void cap(const std::string& name, std::uint64_t most) {
    const auto found = values_.find(name);
    if (found != values_.end()) found->second = std::min(found->second, most);
  }

  std::map<std::string, std::uint64_t> values_;
};

Dims with_last(Dims dims, std::uint64_t last) {
  dims.back() = last;
  return dims;
}

std::uint64_t divided_up(std::uint64_t value, std::uint64_t by) { return (value + by - 1) / by; }

// Expands the rows of one table. One thread at a time.
class Expansion {
 public:
  Expansion(const ModelTable& table, const Sizes& sizes)
      : table_(table), sizes_(sizes), rows_(parts(table.rows, "\n")) {
    block(0, "", 0);
  }
  std::vector<PlannedTensor> take() { return std::move(tensors_); }

 private:
  // The rows from `row` up to the end of the block; returns the one after that.
  std::size_t block(std::size_t row, const std::string& prefix, std::uint64_t index) {
    while (row < rows_.size()) {
      const auto words = parts(rows_[row++], " ");
      if (words[0] == "end") return row;
      if (words[0] == "repeat") {
        row = repeat(row, words, prefix);
      } else if (words[0] == "cut") {
        cut_ = cut_ || words.size() == 1 || index % number(words[1]) == 0;
      } else {
        Dims dims;
        for (const std::string_view word : words | std::views::drop(2)) {
          dims.push_back(sizes_.value(word));
        }
        tensor(prefix + std::string(words[0]), words[1], dims);
      }
    }
    return row;
  }

  std::size_t repeat(std::size_t row, const std::vector<std::string_view>& words,
                     const std::string& prefix) {
    const std::uint64_t first = sizes_.value(words[1]);
    const std::uint64_t end = sizes_.value(words[2]);
    if (first >= end) return passed_over(row);
    std::size_t after = row;
    for (std::uint64_t i = first; i < end; ++i) {
      std::string name = prefix + std::string(words[3]);
      name.replace(name.rfind('#'), 1, std::to_string(i));
      after = block(row, name, i);
    }
    return after;
  }

  // The row after the end of the block that `row` is in.
  std::size_t passed_over(std::size_t row) const {
    for (int depth = 1; depth > 0; ++row) {
      if (rows_[row].starts_with("repeat ")) ++depth;
      if (rows_[row] == "end") --depth;
    }
    return row;
  }

  void tensor(const std::string& name, std::string_view form, const Dims& dims) {
    if (form == "w" || form == "wb") {
      add(name + ".weight", table_.dtype, dims);
      if (form == "wb") add(name + ".bias", table_.dtype, {dims[0]});
    } else if (form == "bnb8") {
      add(name + ".weight", Dtype::kI8, dims);
      add(name + ".SCB", Dtype::kF32, {dims[0]});
      add(name + ".weight_format", Dtype::kU8, {});
    } else if (form == "fp8") {
      add(name + ".weight", Dtype::kF8E4M3, dims);
      add(name + ".weight_scale_inv", Dtype::kF32,
          {divided_up(dims[0], 128), divided_up(dims[1], 128)});
    } else if (form == "mlx4") {
      add(name + ".weight", Dtype::kU32, with_last(dims, divided_up(dims.back(), 8)));
      const Dims groups = with_last(dims, divided_up(dims.back(), 64));
      add(name + ".scales", Dtype::kBF16, groups);
      add(name + ".biases", Dtype::kBF16, groups);
    } else {
      add(name, form == "." ? table_.dtype : dtype_from_name(form).value(), dims);
    }
  }

  void add(std::string name, Dtype dtype, Dims dims) {
    PlannedTensor planned{.tensor = {std::move(name), dtype, std::move(dims)}, .starts_file = cut_};
    planned.counted_bytes = tensor_bytes(planned.tensor);
    if (table_.cut_before_fp8 && dtype == Dtype::kF8E4M3) planned.counted_bytes *= 2;
    if (table_.cut_before_fp8 && planned.tensor.name.ends_with("_scale_inv")) {
      planned.counted_bytes = 0;
    }
    cut_ = false;
    tensors_.push_back(std::move(planned));
  }

  const ModelTable& table_;
  const Sizes& sizes_;
  std::vector<std::string_view> rows_;
  std::vector<PlannedTensor> tensors_;
  bool cut_ = false;
};

const ModelTable* find_table(std::string_view name) {
  for (const auto& tables : {decoder_tables(), other_tables()}) {
    const auto found = std::ranges::find(tables, name, &ModelTable::name);
    if (found != tables.end()) return &*found;
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> real_model_names() {
  std::vector<std::string> names;
  for (const auto& tables : {decoder_tables(), other_tables()}) {
    for (const ModelTable& table : tables) names.emplace_back(table.name);
  }
  return names;
}

std::vector<PlannedTensor> tensors_of(const ModelTable& table, const RealModelOptions& options) {
  const Sizes sizes(table.sizes, options);
  return Expansion(table, sizes).take();
}

std::string config_of(const ModelTable& table, const RealModelOptions& options) {
  const Sizes sizes(table.sizes, options);
  nlohmann::json config;
  for (const std::string_view word : parts(table.config, " ")) {
    const std::size_t equals = word.find('=');
    const std::string_view value = word.substr(equals + 1);
    auto& field = config[nlohmann::json::json_pointer("/" + std::string(word.substr(0, equals)))];
    if (value == "true" || value == "false") {
      field = value == "true";
    } else if (value.starts_with('\'')) {
      field = std::string(value.substr(1, value.size() - 2));
    } else {
      field = sizes.value(value);
    }
  }
  return config.dump(2) + "\n";
}

Result<SyntheticModel> real_model(std::string_view name, const RealModelOptions& options) {
  const ModelTable* table = find_table(name);
  if (table == nullptr) {
    return fail(Errc::kNotFound, fmt::format("there is no table for the model '{}'; there are {}",
                                             name, fmt::join(real_model_names(), ", ")));
  }
  const Sizes sizes(table->sizes, options);
  if (options.experts && !sizes.has("E")) {
    return fail(Errc::kUsage, fmt::format("{} has no experts: leave their number out", name));
  }
  SyntheticModel model;
  model.order = table->order;
  std::vector<PlannedTensor> planned = tensors_of(*table, options);
  if (options.files) {
    std::vector<SyntheticTensor> tensors;
    tensors.reserve(planned.size());
    for (PlannedTensor& tensor : planned) tensors.push_back(std::move(tensor.tensor));
    model.weight_files = split_evenly(std::move(tensors), *options.files, "model");
  } else {
    SplitRule split = table->split;
    if (split.shard_bytes > 0) {
      split.shard_bytes =
          std::max<std::uint64_t>(1, split.shard_bytes / (options.divide * options.divide));
    }
    model.weight_files = split_by_rule(std::move(planned), split);
  }
  model.plain_files = tokenizer_files(sizes.at("v"));
  model.plain_files.emplace_back("config.json", config_of(*table, options));
  return model;
}

}  // namespace shardswarm
