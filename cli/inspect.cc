#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectArguments {
  std::string place;
  double timeout_seconds = 60;
  bool json = false;
  SelectionFlags selection;
  Network network;
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
        layers(outline.layers()) {
    for (const OutlineTensor& tensor : outline.tensors) {
      if (tensor.stack == OutlineTensor::kNoStack) {
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
void print_layers(const Model& model) {
  std::vector<std::vector<std::string>> rows = {{"layers", "tensors", "each", "pieces"}};
  for (std::size_t first = 0; first < model.layers.size();) {
    std::size_t last = first;
    while (last + 1 < model.layers.size() && model.layers[last + 1] == model.layers[first]) ++last;
    rows.push_back(
        sum_row(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last),
                model.layers[first]));
    first = last + 1;
  }
  fmt::print("{}\n", table(rows));
}

void print_model(const Model& model) {
  const Manifest& manifest = *model.manifest;
  fmt::print("model   {}\nsize    {} in {} files, {} tensors, {} pieces\n\n", to_hex(manifest.id()),
             bytes_text(manifest.total_bytes()), manifest.file_count(),
             model.outline.tensors.size(), manifest.piece_count());
  std::vector<std::vector<std::string>> rows = {{"stack", "layers", "tensors", "bytes", "pieces"}};
  for (std::size_t i = 0; i < model.stacks.size(); ++i) {
    auto row = sum_row(model.outline.stacks[i].name, model.stacks[i]);
    row.insert(row.begin() + 1, fmt::format("0-{}", model.outline.stacks[i].layers - 1));
    rows.push_back(std::move(row));
  }
  if (!model.stacks.empty()) {
    fmt::print("{}--layers and --stage mean {}.\n\n", table(rows), model.outline.stacks[0].name);
    print_layers(model);
  }
  if (!model.outside.empty()) {
    rows = {{"outside the layers", "side", "dtype and shape", "bytes"}};
    for (const OutlineTensor* tensor : model.outside) {
      const TensorInfo& info = model.entry(*tensor).info;
      rows.push_back({info.name, std::string(side_name(tensor->side)), shape_text(info),
                      bytes_text(info.bytes())});
    }
    fmt::print("{}\n", table(rows));
  }
  rows = {{"file", "kind", "bytes", "pieces"}};
  for (const FileEntry& file : manifest.root().files) {
    rows.push_back({file.path, std::string(kind_name(file.kind)), bytes_text(file.size),
                    std::to_string(file.pieces)});
  }
  fmt::print("{}", table(rows));
}

std::vector<std::string> selected_files(const Manifest& manifest, const ResolvedSelection& chosen) {
  std::vector<std::string> paths;
  for (std::uint32_t i = 0; i < manifest.file_count(); ++i) {
    if (chosen.files[i]) paths.push_back(manifest.file(FileIndex(i)).path);
  }
  return paths;
}

Json sum_json(const Sum& sum) {
  return {{"tensors", sum.tensors}, {"bytes", sum.bytes}, {"pieces", sum.pieces}};
}

Json model_json(const Model& model) {
  Json stacks = Json::array();
  for (std::size_t i = 0; i < model.stacks.size(); ++i) {
    Json stack = {{"name", model.outline.stacks[i].name},
                  {"layers", model.outline.stacks[i].layers}};
    stack.update(sum_json(model.stacks[i]));
    stacks.push_back(std::move(stack));
  }
  Json layers = Json::array();
  for (const Sum& layer : model.layers) layers.push_back(sum_json(layer));
  Json outside = Json::array();
  for (const OutlineTensor* tensor : model.outside) {
    const TensorInfo& info = model.entry(*tensor).info;
    outside.push_back({{"name", info.name},
                       {"side", side_name(tensor->side)},
                       {"dtype", dtype_name(info.dtype)},
                       {"shape", info.shape},
                       {"bytes", info.bytes()}});
  }
  Json files = Json::array();
  for (const FileEntry& file : model.manifest->root().files) {
    files.push_back({{"path", file.path},
                     {"kind", kind_name(file.kind)},
                     {"bytes", file.size},
                     {"pieces", file.pieces}});
  }
  return {{"id", to_hex(model.manifest->id())},
          {"bytes", model.manifest->total_bytes()},
          {"tensors", model.outline.tensors.size()},
          {"pieces", model.manifest->piece_count()},
          {"stacks", stacks},
          {"layers", layers},
          {"outside", outside},
          {"files", files}};
}

Result<std::shared_ptr<const Manifest>> look_up(const InspectArguments& arguments,
                                                const Context& context) {
  const std::filesystem::path state = context.common.state_directory();
  if (!arguments.place.starts_with("shardswarm:")) return find_manifest(arguments.place, state);
  const auto ticket = Ticket::parse(arguments.place);
  if (!ticket) return std::unexpected(ticket.error());
  if (auto known = find_manifest(to_hex(ticket->id), state)) return known;
  auto node = Node::start(node_options(context.common, arguments.network));
  if (!node) return std::unexpected(node.error());
  return (*node)->learn(*ticket, std::chrono::milliseconds(
                                     static_cast<std::int64_t>(arguments.timeout_seconds * 1000)));
}

int run(const InspectArguments& arguments, Context& context) {
  const auto selection = selection_of(arguments.selection);
  if (!selection) return report_error(selection.error());
  const auto manifest = look_up(arguments, context);
  if (!manifest) return report_error(manifest.error());
  for (const FileIndex file : headers_needed(*selection, (*manifest)->root())) {
    if (!(*manifest)->needs_header(file)) continue;
    return report_error({Errc::kNotFound, "this directory does not hold the header of " +
                                              (*manifest)->file(file).path +
                                              ": inspect the ticket instead"});
  }
  const Model model(*manifest);
  if (arguments.selection.empty()) {
    if (arguments.json) {
      fmt::print("{}\n", model_json(model).dump());
    } else {
      print_model(model);
    }
    return kExitDone;
  }
  const auto chosen = resolve(*selection, **manifest, model.outline);
  if (!chosen) return report_error(chosen.error());
  const auto files = selected_files(**manifest, *chosen);
  if (arguments.json) {
    const Json object = {{"id", to_hex((*manifest)->id())},  {"selection", describe(*selection)},
                         {"wanted_bytes", chosen->bytes},    {"tensors", chosen->tensors},
                         {"pieces", chosen->pieces.count()}, {"files", files}};
    fmt::print("{}\n", object.dump());
    return kExitDone;
  }
  fmt::print("{}: {} of {} in {} pieces: {} tensors, {} files\n", describe(*selection),
             bytes_text(chosen->bytes), bytes_text((*manifest)->total_bytes()),
             chosen->pieces.count(), chosen->tensors, files.size());
  for (const std::string& file : files) fmt::print("  {}\n", file);
  return kExitDone;
}

}  // namespace

void add_inspect(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<InspectArguments>();
  auto* command = app.add_subcommand("inspect", "What a model consists of, or what a selection is");
  command
      ->add_option("DIR|TICKET|MANIFEST", arguments->place,
                   "An indexed or fetched directory, a ticket, a manifest's root file, or an id")
      ->required();
  command
      ->add_option("--timeout", arguments->timeout_seconds, "Seconds to look for peers of a ticket")
      ->check(CLI::Range(0.1, 1e6))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object");
  add_selection(*command, arguments->selection);
  add_trust(*command, arguments->network);
  add_state(*command, context.common);
  command->callback([arguments, &context] { context.exit_code = run(*arguments, context); });
}

}  // namespace shardswarm::cli
