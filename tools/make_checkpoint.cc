// Makes a checkpoint of a family's shape with pseudo-random content.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>

#include "tools/synthetic.h"

namespace {

using namespace shardswarm;

// The largest checkpoint of this family that is not over `bytes`: the hidden size, in steps of 128,
// sets the others in about the proportions of the real ones.
TransformerShape scaled(TransformerShape shape, std::uint64_t bytes,
                        SyntheticModel (*make)(const TransformerShape&)) {
  TransformerShape best = shape;
  for (std::uint64_t hidden = 128; hidden <= 16384; hidden += 128) {
    shape.hidden = hidden;
    shape.intermediate = hidden * 11 / 4 / 128 * 128;
    shape.heads = std::max<std::uint64_t>(4, hidden / 128);
    shape.kv_heads = shape.heads / 4;
    if (tensor_bytes(make(shape)) > bytes) break;
    best = shape;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, SyntheticModel (*)(const TransformerShape&)> families = {
      {"llama", llama_model}, {"mixtral", mixtral_model}, {"deepseek", deepseek_model}};
  std::string directory;
  std::string family = "llama";
  std::string order = "reference";
  std::uint64_t bytes = std::uint64_t{64} << 20;
  std::uint64_t seed = 1;
  TransformerShape shape{.experts = 8, .files = 4};
  CLI::App app("Makes a checkpoint of a family's shape with pseudo-random content.",
               "shardswarm-make-checkpoint");
  app.add_option("DIR", directory, "Where; created")->required();
  app.add_option("--family", family)->check(CLI::IsMember(families))->capture_default_str();
  app.add_option("--size", bytes, "At most so many bytes of tensors; 1GiB and the like too")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--layers", shape.layers)->check(CLI::Range(1, 10'000))->capture_default_str();
  app.add_option("--experts", shape.experts, "Of mixtral and deepseek")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--vocabulary", shape.vocabulary)
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  app.add_option("--files", shape.files, "Files that hold the tensors")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_flag("--tied", shape.tied, "No lm_head");
  app.add_option("--order", order, "Whose writer: reference or mlx")
      ->check(CLI::IsMember({"reference", "mlx"}))
      ->capture_default_str();
  app.add_option("--seed", seed, "Of the content")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const auto make = families.at(family);
  SyntheticModel model = make(scaled(shape, bytes, make));
  model.order = order == "mlx" ? WriterOrder::kMlx : WriterOrder::kReference;
  if (const auto written = write_checkpoint(model, directory, seed); !written) {
    fmt::print(stderr, "shardswarm-make-checkpoint: error: {}\n", written.error().message);
    return 1;
  }
  fmt::print("{}\n", tensor_bytes(model));
  return 0;
}
