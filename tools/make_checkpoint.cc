// Makes a checkpoint of a real model's or a family's shape with pseudo-random content.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <optional>

#include "tools/model_size.h"
#include "tools/pipeline.h"
#include "tools/real_model.h"
#include "tools/synthetic.h"

namespace {

using namespace shardswarm;

const std::map<std::string, MakeModel> kFamilies = {
    {"llama", llama_model}, {"mixtral", mixtral_model}, {"deepseek", deepseek_model}};

struct Arguments {
  std::string directory;
  std::string model;  // empty: a family
  bool pipeline = false;
  std::string family = "llama";
  std::uint64_t bytes = std::uint64_t{64} << 20;
  std::uint64_t divide = 1;
  std::optional<std::uint32_t> layers;
  std::optional<std::uint32_t> experts;
  std::optional<std::uint64_t> vocabulary;
  std::optional<std::uint32_t> files;
  bool tied = false;
  bool consolidated = false;
  std::string order;  // empty: the model's own
  std::uint64_t seed = 1;
  WriteOptions write;
};

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option("DIR", arguments.directory, "Where; created")->required();
  auto* family = app.add_option("--family", arguments.family, "Of any size")
                     ->check(CLI::IsMember(kFamilies))
                     ->capture_default_str();
  auto* model = app.add_option("--model", arguments.model, "A real one, tensor for tensor")
                    ->check(CLI::IsMember(real_model_names()))
                    ->excludes(family);
  auto* pipeline = app.add_flag("--pipeline", arguments.pipeline, "A small diffusion pipeline")
                       ->excludes(family)
                       ->excludes(model);
  app.add_option("--size", arguments.bytes,
                 "Of a family: bytes of its tensors, or 1GiB and the like. The model has at most "
                 "that, and at least 97 % of it")
      ->transform(CLI::AsSizeValue(false))
      ->excludes(model)
      ->excludes(pipeline);
  app.add_option("--divide", arguments.divide,
                 "A smaller --model: widths and vocabulary through so much")
      ->check(CLI::Range(1, 1 << 16))
      ->needs(model);
  app.add_option("--layers", arguments.layers, "16, or as the model has")
      ->check(CLI::Range(1, 10'000));
  app.add_option("--experts", arguments.experts, "Where there are some: 8, or as the model has")
      ->check(CLI::Range(1, 10'000))
      ->excludes(pipeline);
  app.add_option("--vocabulary", arguments.vocabulary, "2048, or as the model has")
      ->check(CLI::Range(1, 1 << 24))
      ->excludes(pipeline);
  app.add_option("--files", arguments.files,
                 "Files that hold the tensors: 4, or cut as the model's were")
      ->check(CLI::Range(1, 10'000));
  app.add_flag("--tied", arguments.tied, "Of a family: no lm_head")
      ->excludes(model)
      ->excludes(pipeline);
  app.add_flag("--consolidated", arguments.consolidated,
               "consolidated.safetensors and original/consolidated.00.pth too")
      ->excludes(pipeline);
  app.add_option("--order", arguments.order, "Whose writer; reference, or the model's")
      ->check(CLI::IsMember({"reference", "mlx"}));
  app.add_option("--seed", arguments.seed, "Of the content")->capture_default_str();
  app.add_option("--change", arguments.write.change,
                 "Glob of tensors that get other content; may be repeated")
      ->allow_extra_args(false);  // the next word may be DIR
  app.add_flag("--sparse", arguments.write.sparse, "Tensors are holes: any size in no space");
}

Result<SyntheticModel> made(const Arguments& arguments) {
  if (arguments.pipeline) {
    const PipelineOptions usual;
    return diffusion_pipeline({.layers = arguments.layers.value_or(usual.layers),
                               .files = arguments.files.value_or(usual.files)});
  }
  if (!arguments.model.empty()) {
    return real_model(arguments.model, {.divide = arguments.divide,
                                        .layers = arguments.layers,
                                        .experts = arguments.experts,
                                        .vocabulary = arguments.vocabulary,
                                        .files = arguments.files});
  }
  const TransformerShape usual;
  const TransformerShape shape{
      .layers = arguments.layers.value_or(usual.layers),
      .vocabulary = arguments.vocabulary.value_or(usual.vocabulary),
      .experts = arguments.experts.value_or(8),
      .tied = arguments.tied,
      .files = arguments.files.value_or(4),
  };
  const MakeModel make = kFamilies.at(arguments.family);
  const auto sized = shape_of_size(shape, arguments.bytes, make);
  if (!sized) return std::unexpected(sized.error());
  return make(*sized);
}

Result<std::uint64_t> run(const Arguments& arguments) {
  auto model = made(arguments);
  if (!model) return std::unexpected(model.error());
  if (!arguments.order.empty()) {
    model->order = arguments.order == "mlx" ? WriterOrder::kMlx : WriterOrder::kReference;
  }
  if (arguments.consolidated) {
    if (auto done = add_consolidated(*model); !done) return std::unexpected(done.error());
  }
  const auto written =
      write_checkpoint(*model, arguments.directory, arguments.seed, arguments.write);
  if (!written) return std::unexpected(written.error());
  return tensor_bytes(*model);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Makes a checkpoint of a real shape with pseudo-random content.",
               "shardswarm-make-checkpoint");
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  const auto bytes = run(arguments);
  if (!bytes) {
    fmt::print(stderr, "shardswarm-make-checkpoint: error: {}\n", bytes.error().message);
    return 1;
  }
  fmt::print("{}\n", *bytes);
  return 0;
}
