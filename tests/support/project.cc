#include "tests/support/project.h"

#include <stdexcept>

namespace shardswarm::test {

std::filesystem::path project_root() {
  for (auto place = std::filesystem::current_path();; place = place.parent_path()) {
    if (std::filesystem::exists(place / "spec/manifest.md")) return place;
    if (place == place.root_path()) break;
  }
  throw std::runtime_error("run this test in the project's checkout, or below it");
}

}  // namespace shardswarm::test
