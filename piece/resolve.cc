// What a selection means in a model: the union of its parts, then its filters.
#include <simdjson.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "piece/outline_roles.h"
#include "piece/presets.h"
#include "piece/selection.h"
#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

constexpr std::size_t kChoicesMax = 12;           // that an error names
constexpr std::uint64_t kDivisorsUpTo = 1 << 16;  // that it looks for

std::string joined(const std::vector<std::string>& texts) {
  std::string text;
  for (std::size_t i = 0; i < texts.size() && i < kChoicesMax; ++i) {
    text += (i == 0 ? "" : ", ") + texts[i];
  }
  return texts.size() > kChoicesMax ? text + " and others" : text;
}

std::string divisors(std::uint64_t rows) {
  constexpr std::size_t kMost = 6;
  std::vector<std::string> found;
  for (std::uint64_t n = 1; n <= std::min(rows, kDivisorsUpTo) && found.size() < kMost; ++n) {
    if (rows % n == 0) found.push_back(std::to_string(n));
  }
  return joined(found) + (found.size() == 1 ? " does" : " do");
}

std::string slice_text(const Slice& slice) {
  return "'" + slice.tensors + ":" + std::to_string(slice.rank) + "/" +
         std::to_string(slice.count) + "'";
}

// Which rows of the model's tensors are wanted. Lives for one call of resolve(), on its caller's
// thread.
class Resolver {
 public:
  Resolver(const Selection& selection, const Manifest& manifest, const Outline& outline)
      : selection_(selection),
        manifest_(manifest),
        outline_(outline),
        taken_(outline.tensors.size()) {}

  Result<TensorSet> run() {
    if (auto good = check_texts(); !good) return std::unexpected(good.error());
    if (auto done = find_layers(); !done) return std::unexpected(done.error());
    if (auto done = take_tensors(); !done) return std::unexpected(done.error());
    if (any_taken()) {
      if (auto done = exclude(); !done) return std::unexpected(done.error());
      if (auto done = narrow_to_experts(); !done) return std::unexpected(done.error());
      if (auto done = slice(); !done) return std::unexpected(done.error());
    } else if (selection_.filtered()) {
      return usage("experts, slices and excludes narrow tensors: this selection has none");
    }
    return rows();
  }

 private:
  // What of a stack is wanted.
  struct Wanted {
    std::uint32_t stack = 0;
    std::vector<bool> layers;  // `numbered` of them
    bool to_the_end = false;   // a last stage, or all: MTP layers, too
  };

  const TensorInfo& info(std::size_t i) const {
    const OutlineTensor& tensor = outline_.tensors[i];
    return info_of(manifest_, tensor);
  }
  bool matches(const std::string& glob, std::size_t i) const {
    const OutlineTensor& tensor = outline_.tensors[i];
    if (outline_.components[tensor.component].folder.empty()) {
      return glob_match(glob, info(i).name);
    }
    return glob_match(glob, outline_.full_name(tensor, manifest_));
  }
  bool any_taken() const { return std::ranges::find(taken_, true) != taken_.end(); }

  // Selections are kept as JSON, too, which holds nothing but UTF-8.
  Result<void> check_texts() const {
    std::vector<std::string_view> all;
    for (const auto* list :
         {&selection_.tensors, &selection_.stacks, &selection_.excludes, &selection_.files}) {
      all.insert(all.end(), list->begin(), list->end());
    }
    for (const Slice& slice : selection_.slices) all.emplace_back(slice.tensors);
    for (const std::string_view text : all) {
      if (simdjson::validate_utf8(text.data(), text.size())) continue;
      return usage("'" + std::string(text) + "' of the selection is not UTF-8, as all names in " +
                   "a model are");
    }
    return {};
  }

  // "glob '*.x' matches none of ...", with one of those that it could have matched.
  std::unexpected<Error> unmatched(std::string_view what, const std::string& glob,
                                   std::string_view whose) const {
    if (outline_.tensors.empty()) return no_tensors();
    const auto first = std::ranges::find(taken_, true);
    const bool all = first == taken_.end();
    const auto count =
        all ? taken_.size() : static_cast<std::size_t>(std::ranges::count(taken_, true));
    std::string text = std::string(what) + " glob '" + glob + "' matches none of the " +
                       std::string(whose) + count_text(count, "tensor");
    const auto i = all ? 0 : static_cast<std::size_t>(first - taken_.begin());
    return usage(text + " (one is '" + outline_.full_name(outline_.tensors[i], manifest_) + "')");
  }

  // GGUF and the like are whole files to us.
  static std::unexpected<Error> no_tensors() {
    return usage(
        "this model has no safetensors files, the only ones that parts are taken from: choose "
        "whole "
        "files with --files GLOB");
  }

  Result<std::vector<std::uint32_t>> named_stacks() const {
    if (outline_.tensors.empty()) return no_tensors();
    if (outline_.stacks.empty()) {
      return usage("this model has no numbered layers: select its tensors with --tensors GLOB");
    }
    if (selection_.stacks.empty()) return std::vector<std::uint32_t>{0};
    std::vector<std::uint32_t> stacks;
    for (const std::string& name : selection_.stacks) {
      const auto stack = stack_named(outline_, name);
      if (!stack) return std::unexpected(stack.error());
      if (std::ranges::find(stacks, *stack) == stacks.end()) stacks.push_back(*stack);
    }
    return stacks;
  }

  Result<void> find_layers() {
    const bool parts = !selection_.layers.empty() || !selection_.stages.empty();
    if (!parts && selection_.stacks.empty()) return {};
    const auto stacks = named_stacks();
    if (!stacks) return std::unexpected(stacks.error());
    for (const std::uint32_t index : *stacks) {
      const Stack& stack = outline_.stacks[index];
      Wanted wanted{.stack = index, .layers = std::vector<bool>(stack.numbered)};
      const auto done =
          parts ? mark_parts(stack, wanted) : mark(stack, {0, stack.numbered - 1}, wanted);
      if (!done) return std::unexpected(done.error());
      wanted_.push_back(std::move(wanted));
    }
    return {};
  }

  Result<void> mark_parts(const Stack& stack, Wanted& wanted) const {
    for (const LayerRange& range : selection_.layers) {
      if (auto done = mark(stack, range, wanted); !done) return done;
    }
    for (const Stage& stage : selection_.stages) {
      const auto stages = split_stages(stack, stage.count);
      if (!stages) return std::unexpected(stages.error());
      if (stage.index < 1 || stage.index > stage.count) {
        return usage("stage " + std::to_string(stage.index) + "/" + std::to_string(stage.count) +
                     " is none: stages count from 1");
      }
      if (auto done = mark(stack, (*stages)[stage.index - 1], wanted); !done) return done;
      if (stage.index == stage.count) wanted.to_the_end = true;
    }
    return {};
  }

  static Result<void> mark(const Stack& stack, const LayerRange& range, Wanted& wanted) {
    if (range.first > range.last || range.last >= stack.numbered) {
      return usage("layers " + range_text(range.first, range.last) +
                   ": this model has only layers " + range_text(0, stack.numbered - 1) + " (" +
                   stack.name + ")");
    }
    std::fill(wanted.layers.begin() + range.first, wanted.layers.begin() + range.last + 1, true);
    return {};
  }

  // Whether MTP layers come that hold no copies of the token embedding and the head: then they read
  // the model's.
  bool reads_edges(const Wanted& wanted) const {
    const Stack& stack = outline_.stacks[wanted.stack];
    const auto mtp = wanted.layers.begin() + stack.layers;
    const bool any = wanted.to_the_end
                         ? stack.numbered > stack.layers
                         : std::find(mtp, wanted.layers.end(), true) != wanted.layers.end();
    return any && outline_.components[stack.component].mtp_reads_embedding;
  }

  // Whether MTP layers that are numbered like the stack's own are all that reads the tensor at the
  // stack's end. Then it comes with them, not with the last layer.
  bool for_mtp_alone(const Stack& stack, const OutlineTensor& tensor) const {
    const Component& component = outline_.components[stack.component];
    return tensor.edge == Edge::kEmbedding && !component.tied &&
           component.writer == component.main && stack.numbered > stack.layers;
  }

  bool wants(const Wanted& wanted, const OutlineTensor& tensor) const {
    const auto side = outline_.side(tensor, wanted.stack);
    const Stack& stack = outline_.stacks[wanted.stack];
    // All of the component's tensors outside layers, whichever stack they stand beside.
    if (selection_.shared == SharedTensors::kAll && tensor.stack == kNoStack &&
        tensor.component == stack.component) {
      return true;
    }
    if (!side) return false;
    if (tensor.stack == wanted.stack) {
      return wanted.layers[tensor.layer] || (wanted.to_the_end && tensor.layer >= stack.layers);
    }
    if (selection_.shared == SharedTensors::kAll) return true;
    const bool first = wanted.layers.front();
    const bool last = wanted.layers[stack.layers - 1];
    switch (*side) {
      case Side::kInput:
        return first || (selection_.shared == SharedTensors::kTowers && of_tower(tensor));
      case Side::kOutput:
        return last || reads_edges(wanted);
      case Side::kBoth:
        return first || reads_edges(wanted) || (last && !for_mtp_alone(stack, tensor));
      default:
        return true;
    }
  }

  // Whether a tensor at the stack's input side is part of a tower or of another encoder that runs
  // before the stack, or joins one to it; not the stack's own embedding.
  bool of_tower(const OutlineTensor& tensor) const {
    if (tensor.stack != kNoStack || tensor.home != kNoStack) return true;
    const Module module = module_of(info_of(manifest_, tensor).name);
    return module == Module::kTower || module == Module::kProjector;
  }

  Result<void> take_tensors() {
    const bool part = selection_.names_tensors();
    // Files named alone bring no tensors; a filter without a part narrows all of them.
    const bool all = !part && (selection_.filtered() || selection_.files.empty());
    std::vector<bool> matched(selection_.tensors.size());
    std::vector<bool> taken(taken_.size());
    for (std::size_t i = 0; i < taken.size(); ++i) {
      const OutlineTensor& tensor = outline_.tensors[i];
      taken[i] = all || std::ranges::any_of(
                            wanted_, [&](const Wanted& wanted) { return wants(wanted, tensor); });
      for (std::size_t g = 0; g < matched.size(); ++g) {
        if (matches(selection_.tensors[g], i)) taken[i] = matched[g] = true;
      }
    }
    for (std::size_t g = 0; g < matched.size(); ++g) {
      if (!matched[g]) return unmatched("tensor", selection_.tensors[g], "model's ");
    }
    taken_ = std::move(taken);
    return {};
  }

  Result<void> exclude() {
    std::vector<bool> matched(selection_.excludes.size());
    std::vector<bool> left = taken_;
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (!taken_[i]) continue;
      for (std::size_t g = 0; g < matched.size(); ++g) {
        if (!matches(selection_.excludes[g], i)) continue;
        matched[g] = true;
        left[i] = false;
      }
    }
    for (std::size_t g = 0; g < matched.size(); ++g) {
      if (!matched[g]) return unmatched("exclude", selection_.excludes[g], "selection's ");
    }
    taken_ = std::move(left);
    if (!any_taken()) return usage("the excludes leave no tensor of the selection");
    return {};
  }

  // The ranges in order, none touching another; kUsage when one lies outside.
  Result<std::vector<ExpertRange>> expert_ranges() const {
    std::uint32_t stack = kNoStack;  // of those that are taken, the one with most experts
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      const OutlineTensor& tensor = outline_.tensors[i];
      if (!taken_[i] || tensor.experts.count == 0) continue;
      const auto experts = outline_.stacks[tensor.stack].experts;
      if (stack == kNoStack || experts > outline_.stacks[stack].experts) stack = tensor.stack;
    }
    if (stack == kNoStack) {
      const auto moe = std::ranges::find_if(outline_.stacks, &Stack::experts);
      if (moe == outline_.stacks.end()) {
        return usage("this model has no experts: leave --experts out");
      }
      return usage("the selected tensors are of no expert: " + moe->name + " has experts " +
                   range_text(0, moe->experts - 1) + " in other layers");
    }
    std::vector<ExpertRange> ranges;
    for (const ExpertRange& range : selection_.experts) {
      const std::uint32_t count = outline_.stacks[stack].experts;
      if (range.first > range.last || range.last >= count) {
        return usage("experts " + range_text(range.first, range.last) +
                     ": this model has only experts " + range_text(0, count - 1) + " (" +
                     outline_.stacks[stack].name + ")");
      }
      ranges.push_back(range);
    }
    std::ranges::sort(ranges, {}, &ExpertRange::first);
    std::vector<ExpertRange> merged;
    for (const ExpertRange& range : ranges) {
      if (merged.empty() || range.first > merged.back().last + 1) {
        merged.push_back(range);
      } else {
        merged.back().last = std::max(merged.back().last, range.last);
      }
    }
    return merged;
  }

  Result<void> narrow_to_experts() {
    if (selection_.experts.empty()) return {};
    const auto ranges = expert_ranges();
    if (!ranges) return std::unexpected(ranges.error());
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      const Experts& experts = outline_.tensors[i].experts;
      if (!taken_[i] || experts.count == 0) continue;
      std::vector<Rows> rows;
      for (const ExpertRange& range : *ranges) {
        const std::uint32_t begin = std::max(range.first, experts.first);
        const std::uint32_t end = std::min(range.last + 1, experts.first + experts.count);
        if (begin >= end) continue;
        rows.push_back(
            {(begin - experts.first) * experts.rows, (end - experts.first) * experts.rows});
      }
      if (rows.empty()) taken_[i] = false;
      if (rows.empty() || experts.rows == 0) continue;
      if (rows[0] == Rows{0, row_count(info(i))}) continue;
      if (!row_bytes(info(i))) return usage(torn(i) + ": leave --experts out, or exclude it");
      narrowed_.emplace(i, std::move(rows));
    }
    if (!any_taken()) return usage("the experts leave no tensor of the selection");
    return {};
  }

  std::string torn(std::size_t i) const {
    return "rows of " + outline_.full_name(outline_.tensors[i], manifest_) + " are not whole bytes";
  }

  Result<void> slice() {
    for (const Slice& slice : selection_.slices) {
      if (slice.rank < slice.count) continue;
      return usage("slice " + slice_text(slice) + " is none: ranks count from 0");
    }
    std::vector<bool> matched(selection_.slices.size());
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (!taken_[i]) continue;
      const Slice* found = nullptr;
      for (std::size_t g = 0; g < matched.size(); ++g) {
        const Slice& slice = selection_.slices[g];
        if (!matches(slice.tensors, i)) continue;
        matched[g] = true;
        if (found && (found->rank != slice.rank || found->count != slice.count)) {
          return usage("slices " + slice_text(*found) + " and " + slice_text(slice) +
                       " both match " + outline_.full_name(outline_.tensors[i], manifest_) +
                       ": each tensor can have one");
        }
        if (!found) found = &slice;
      }
      if (!found) continue;
      if (auto done = cut(i, *found); !done) return done;
    }
    for (std::size_t g = 0; g < matched.size(); ++g) {
      if (!matched[g]) return unmatched("slice", selection_.slices[g].tensors, "selection's ");
    }
    return {};
  }

  Result<void> cut(std::size_t i, const Slice& slice) {
    const std::string name = outline_.full_name(outline_.tensors[i], manifest_);
    if (narrowed_.contains(i)) {
      return usage("slice " + slice_text(slice) + " matches " + name +
                   ", which --experts narrows already: leave one of them out");
    }
    if (info(i).shape.empty()) {
      return usage(name + " is a scalar: slice " + slice_text(slice) + " cannot divide it");
    }
    const std::uint64_t rows = info(i).shape[0];
    if (rows % slice.count != 0) {
      return usage(name + " has " + std::to_string(rows) + " rows: " + std::to_string(slice.count) +
                   " does not divide them; " + divisors(rows));
    }
    if (slice.count == 1) return {};
    if (!row_bytes(info(i))) return usage(torn(i) + ": slice others, it comes whole");
    const std::uint64_t each = rows / slice.count;
    narrowed_.emplace(i, std::vector<Rows>{{slice.rank * each, (slice.rank + 1) * each}});
    return {};
  }

  TensorSet rows() const {
    std::vector<TensorRows> rows;
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (!taken_[i]) continue;
      const OutlineTensor& tensor = outline_.tensors[i];
      const auto narrowed = narrowed_.find(i);
      if (narrowed == narrowed_.end()) {
        rows.push_back({tensor.file, tensor.tensor, {0, row_count(info(i))}});
        continue;
      }
      for (const Rows& run : narrowed->second) rows.push_back({tensor.file, tensor.tensor, run});
    }
    return normalized(std::move(rows));
  }

  const Selection& selection_;
  const Manifest& manifest_;
  const Outline& outline_;
  std::vector<Wanted> wanted_;
  std::vector<bool> taken_;  // by index of outline_.tensors, here and below
  std::unordered_map<std::size_t, std::vector<Rows>> narrowed_;  // of which not all rows are wanted
};

}  // namespace

Result<std::uint32_t> stack_named(const Outline& outline, const std::string& name) {
  if (const auto stack = outline.find_stack(name)) return *stack;
  std::vector<std::string> names;
  names.reserve(outline.stacks.size());
  for (const Stack& each : outline.stacks) names.push_back(each.name);
  return usage("this model has no stack '" + name + "': it has " + joined(names));
}

Result<ResolvedSelection> resolve(const Selection& selection, const Manifest& manifest,
                                  const Outline& outline) {
  auto parts = without_preset(selection, outline);
  if (!parts) return std::unexpected(parts.error());
  auto tensors = Resolver(*parts, manifest, outline).run();
  if (!tensors) return std::unexpected(tensors.error());
  const FilesToo too = parts->whole() ? FilesToo::kAll : FilesToo::kOfAPart;
  auto resolved = with_files(std::move(*tensors), parts->files, too, manifest);
  if (!resolved) return resolved;
  resolved->parts = std::move(*parts);
  resolved->engine_setting = engine_setting(selection, outline);
  return resolved;
}

}  // namespace shardswarm
