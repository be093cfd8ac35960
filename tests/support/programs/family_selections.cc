// What selections bring of the families in tests/piece/families, for programs that know on their
// own what they should. Each line of stdin is FAMILY<TAB>SELECTION, the selection as flags; each
// line of stdout answers it: {"parts": its plain form, "tensors": [names]} or {"error": message}.
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "piece/outline.h"
#include "piece/selection.h"
#include "piece/selection_text.h"
#include "tests/piece/builder.h"
#include "tests/support/families.h"

namespace shardswarm::test {
namespace {

using Json = nlohmann::ordered_json;

struct Model {
  Manifest manifest;
  Outline outline;
};

const Model& model_of(const std::string& name) {
  static std::map<std::string, Model> models;
  const auto known = models.find(name);
  if (known != models.end()) return known->second;
  const auto family = std::ranges::find(families(), name, &Family::name);
  if (family == families().end()) throw std::runtime_error("no family is called '" + name + "'");
  Manifest manifest = manifest_of(*family);
  Outline outline = make_outline(manifest);
  return models.emplace(name, Model{std::move(manifest), std::move(outline)}).first->second;
}

Json answer(const Model& model, const std::string& flags) {
  const auto selection = parse_selection(flags);
  if (!selection) return {{"error", selection.error().message}};
  const auto resolved = resolve(*selection, model.manifest, model.outline);
  if (!resolved) return {{"error", resolved.error().message}};
  Json names = Json::array();
  for (const TensorRows& run : resolved->tensors) {
    names.push_back(info_of(model.manifest, run).name);
  }
  return {{"parts", describe(resolved->parts)}, {"tensors", std::move(names)}};
}

int run() {
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) throw std::runtime_error("'" + line + "' has no tab");
    std::cout << answer(model_of(line.substr(0, tab)), line.substr(tab + 1)).dump() << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace shardswarm::test

int main() {
  try {
    return shardswarm::test::run();
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
