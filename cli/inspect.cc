#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/holds.h"
#include "cli/inspect_selection.h"
#include "cli/json.h"
#include "cli/options.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct InspectArguments {
  std::string place;
  std::chrono::milliseconds timeout{60'000};
  bool json = false;
  SelectionFlags selection;
  Network network;
  State state;
};

// Sums over some of a model's tensors.
struct Sum {
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;
  std::uint64_t pieces = 0;
  void add(const TensorEntry& tensor) {
    ++tensors;
    bytes += tensor.info.bytes();
    pieces += tensor.pieces;
  }
  bool operator==(const Sum&) const = default;
};

struct Model {
  std::shared_ptr<const Manifest> manifest;
  Outline outline;
  std::vector<Sum> stacks;
  std::vector<Sum> layers;  // of stacks[0]
  std::vector<const OutlineTensor*> outside;

  explicit Model(std::shared_ptr<const Manifest> of)
      : manifest(std::move(of)),
        outline(make_outline(*manifest)),
        stacks(outline.stacks.size()),
        layers(outline.stacks.empty() ? 0 : outline.stacks[0].numbered) {
    for (const OutlineTensor& tensor : outline.tensors) {
      if (tensor.stack == kNoStack) {
        outside.push_back(&tensor);
        continue;
      }
      stacks[tensor.stack].add(entry(tensor));
      if (tensor.stack == 0) layers[tensor.layer].add(entry(tensor));
    }
  }
  const TensorEntry& entry(const OutlineTensor& tensor) const {
    return manifest->tensors(tensor.file)[tensor.tensor.value];
  }
  // What a tensor outside the layers stands beside, if not the stack that --layers means.
  const Stack* other_stack(const OutlineTensor& tensor) const {
    const std::uint32_t main = outline.components[tensor.component].main;
    const std::uint32_t stack = tensor.home != kNoStack ? tensor.home : main;
    return stack == kNoStack || stack == 0 ? nullptr : &outline.stacks[stack];
  }
};

std::string_view side_name(Side side) {
  switch (side) {
    case Side::kLayer:
      return "layer";
    case Side::kInput:
      return "input";
    case Side::kOutput:
      return "output";
    case Side::kBoth:
      return "both";
    case Side::kEverybody:
      return "everybody";
  }
  return "?";
}

std::string_view kind_name(FileKind kind) {
  switch (kind) {
    case FileKind::kPlain:
      return "plain";
    case FileKind::kTensors:
      return "tensors";
    case FileKind::kSpareTensors:
      return "spare tensors";
  }
  return "?";
}

std::string shape_text(const TensorInfo& info) {
  return fmt::format("{} [{}]", dtype_name(info.dtype), fmt::join(info.shape, ", "));
}

std::vector<std::string> sum_row(std::string name, const Sum& sum) {
  return {std::move(name), std::to_string(sum.tensors), bytes_text(sum.bytes),
          std::to_string(sum.pieces)};
}

// Layers that are alike stand in one row: "0-31".
std::string layers_table(const Model& model) {
  std::vector<std::vector<std::string>> rows = {{"layers", "tensors", "each", "pieces"}};
  for (std::size_t first = 0; first < model.layers.size();) {
    std::size_t last = first;
    while (last + 1 < model.layers.size() && model.layers[last + 1] == model.layers[first]) ++last;
    rows.push_back(
        sum_row(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last),
                model.layers[first]));
    first = last + 1;
  }
  return table(rows) + "\n";
}

// "0-60" or, with layers for multi-token prediction behind the others, "0-60, MTP 61".
std::string layers_text(const Stack& stack) {
  std::string text = fmt::format("0-{}", stack.layers - 1);
  if (stack.numbered > stack.layers) text += fmt::format(", MTP {}", stack.layers);
  return text;
}

std::string stacks_text(const Model& model) {
  std::vector<std::vector<std::string>> rows = {
      {"stack", "layers", "experts", "tensors", "bytes", "pieces"}};
  for (std::size_t i = 0; i < model.stacks.size(); ++i) {
    const Stack& stack = model.outline.stacks[i];
    auto row = sum_row(stack.name, model.stacks[i]);
    row.insert(row.begin() + 1, layers_text(stack));
    row.insert(row.begin() + 2, stack.experts > 0 ? std::to_string(stack.experts) : "-");
    rows.push_back(std::move(row));
  }
  return fmt::format("{}--layers and --stage mean {}{}.\n\n", table(rows),
                     printable(model.outline.stacks[0].name),
                     model.stacks.size() > 1 ? "; --stack NAME picks another" : "");
}

std::string outside_text(const Model& model) {
  std::vector<std::vector<std::string>> rows = {
      {"outside the layers", "side", "beside", "dtype and shape", "bytes"}};
  for (const OutlineTensor* tensor : model.outside) {
    const TensorInfo& info = model.entry(*tensor).info;
    const Stack* beside = model.other_stack(*tensor);
    rows.push_back({info.name, std::string(side_name(tensor->main_side)),
                    beside ? beside->name : "-", shape_text(info), bytes_text(info.bytes())});
  }
  return table(rows) +
         "side: with which layers it comes: input the first, output the last, both either of them, "
         "everybody all.\nbeside: the stack whose layers these are; - is the one that --layers "
         "means.\n\n";
}

// What the directory that was asked about holds, if it was one.
std::string here_text(const std::optional<HeldDirectory>& here) {
  if (!here) return {};
  const std::string holds = holds_text(*here);
  return fmt::format("here    {}{}{} of {}{}\n", holds, holds.empty() ? "" : ": ",
                     bytes_text(here->present_bytes), bytes_text(here->total_bytes),
                     here->changed ? "; files were changed since" : "");
}

std::string model_text(const Model& model, const std::optional<HeldDirectory>& here) {
  const Manifest& manifest = *model.manifest;
  const std::uint64_t headers = manifest.total_bytes() - manifest.data_bytes();
  std::string text = fmt::format(
      "model   {}\nsize    {} in {}, {}, {}{}\n{}\n", to_hex(manifest.id()),
      bytes_text(manifest.data_bytes()), count_text(manifest.file_count(), "file"),
      count_text(model.outline.tensors.size(), "tensor"),
      count_text(manifest.piece_count(), "piece"),
      headers == 0 ? "" : fmt::format("; headers of {} beside that", bytes_text(headers)),
      here_text(here));
  if (!model.stacks.empty()) text += stacks_text(model) + layers_table(model);
  if (!model.outside.empty()) text += outside_text(model);
  std::vector<std::vector<std::string>> rows = {{"file", "kind", "bytes", "pieces"}};
  for (const FileEntry& file : manifest.root().files) {
    rows.push_back({file.path, std::string(kind_name(file.kind)), bytes_text(file.size),
                    std::to_string(file.pieces)});
  }
  return text + table(rows);
}

Json sum_json(const Sum& sum) {
  return {{"tensors", sum.tensors}, {"bytes", sum.bytes}, {"pieces", sum.pieces}};
}

Json here_json(const std::optional<HeldDirectory>& here) {
  if (!here) return nullptr;
  return {{"present_bytes", here->present_bytes},
          {"total_bytes", here->total_bytes},
          {"complete", here->complete},
          {"changed", here->changed},
          {"holds", holds_json(*here)}};
}

Json model_json(const Model& model, const std::optional<HeldDirectory>& here) {
  Json stacks = Json::array();
  for (std::size_t i = 0; i < model.stacks.size(); ++i) {
    Json stack = {{"name", model.outline.stacks[i].name},
                  {"layers", model.outline.stacks[i].layers},
                  {"numbered", model.outline.stacks[i].numbered},
                  {"experts", model.outline.stacks[i].experts}};
    stack.update(sum_json(model.stacks[i]));
    stacks.push_back(std::move(stack));
  }
  Json layers = Json::array();
  for (const Sum& layer : model.layers) layers.push_back(sum_json(layer));
  Json outside = Json::array();
  for (const OutlineTensor* tensor : model.outside) {
    const TensorInfo& info = model.entry(*tensor).info;
    Json row = {{"name", info.name},
                {"side", side_name(tensor->main_side)},
                {"dtype", dtype_name(info.dtype)},
                {"shape", info.shape},
                {"bytes", info.bytes()}};
    if (const Stack* beside = model.other_stack(*tensor)) row["stack"] = beside->name;
    outside.push_back(std::move(row));
  }
  Json files = Json::array();
  for (const FileEntry& file : model.manifest->root().files) {
    files.push_back({{"path", file.path},
                     {"kind", kind_name(file.kind)},
                     {"bytes", file.size},
                     {"pieces", file.pieces}});
  }
  return {{"schema", kJsonSchema},
          {"id", to_hex(model.manifest->id())},
          {"bytes", model.manifest->total_bytes()},
          {"tensors", model.outline.tensors.size()},
          {"pieces", model.manifest->piece_count()},
          {"here", here_json(here)},
          {"stacks", stacks},
          {"layers", layers},
          {"outside", outside},
          {"files", files}};
}

Result<std::shared_ptr<const Manifest>> look_up(const InspectArguments& arguments,
                                                Context& context) {
  const std::filesystem::path state = arguments.state.path();
  if (!arguments.place.starts_with("shardswarm:")) return find_manifest(arguments.place, state);
  const auto ticket = Ticket::parse(arguments.place);
  if (!ticket) return std::unexpected(ticket.error());
  if (auto known = find_manifest(to_hex(ticket->id), state)) return known;
  NodeOptions only_looks = node_options(context, arguments.state, arguments.network);
  only_looks.share = false;
  if (only_looks.listen.empty()) only_looks.listen = kAnyPort;
  auto node = Node::start(std::move(only_looks));
  if (!node) return std::unexpected(node.error());
  return (*node)->learn(*ticket, arguments.timeout);
}

// Nothing for what is no directory.
std::optional<HeldDirectory> here_of(const InspectArguments& arguments) {
  std::error_code ec;
  if (!std::filesystem::is_directory(arguments.place, ec)) return std::nullopt;
  auto here = look_at_directory(arguments.place, arguments.state.path());
  return here ? std::optional(std::move(*here)) : std::nullopt;
}

int run(const InspectArguments& arguments, Context& context) {
  const auto selection = selection_of(arguments.selection);
  if (!selection) return report_error(context, selection.error());
  const auto manifest = look_up(arguments, context);
  if (!manifest) return report_error(context, manifest.error());
  for (const FileIndex file : headers_needed(*selection, (*manifest)->root())) {
    // Nothing here looks into second copies: a directory without them lacks their headers.
    const bool spare = (*manifest)->file(file).kind == FileKind::kSpareTensors;
    if (spare || !(*manifest)->needs_header(file)) continue;
    return report_error(context, {Errc::kNotFound, "this directory does not hold the header of " +
                                                       (*manifest)->file(file).path +
                                                       ": inspect the ticket instead"});
  }
  const Model model(*manifest);
  Terminal& terminal = context.terminal;
  if (*selection == Selection{}) {
    const auto here = here_of(arguments);
    if (arguments.json) {
      terminal.raw_result(json_text(model_json(model, here)));
    } else {
      terminal.results(model_text(model, here));
    }
    return kExitDone;
  }
  const auto chosen = resolve(*selection, **manifest, model.outline);
  if (!chosen) return report_error(context, chosen.error());
  if (arguments.json) {
    terminal.raw_result(selection_report(*selection, *chosen, **manifest, model.outline));
  } else {
    terminal.results(selection_text(*selection, *chosen, **manifest, model.outline));
  }
  return kExitDone;
}

}  // namespace

CommandSpec inspect_command() {
  auto arguments = std::make_shared<InspectArguments>();
  CommandSpec command{
      .name = "inspect",
      .summary = "What a model consists of, or what a selection would bring",
      .positionals = {{.name = "MODEL",
                       .text = "An indexed or fetched directory, a ticket, a manifest's root file, "
                               "or an id",
                       .set = into(arguments->place),
                       .path = true}},
      .options = {{.names = "--timeout",
                   .value = "DURATION",
                   .text = "How long to look for peers of a ticket (default: 60s)",
                   .group = heading::kNetwork,
                   .set = timeout(arguments->timeout, std::chrono::milliseconds(100))},
                  json_option(arguments->json, "One JSON object")},
      .examples = {{"shardswarm inspect ./llama", "Stacks, layers and files"},
                   {"shardswarm inspect TICKET --stage 2/4", "What a fetch would bring"}},
      .run = [arguments](Context& context) { return run(*arguments, context); }};
  add_selection(command, arguments->selection);
  add_trust(command, arguments->network);
  add_state(command, arguments->state);
  return command;
}

}  // namespace shardswarm::cli
