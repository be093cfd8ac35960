// Which experts a tensor is made of, by its name and shape and its layer's router.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "piece/outline.h"

namespace shardswarm {

// Learns the number of experts from routers, then tells it of tensors whose shape alone does not.
// Keeps views of the names that it is told. Not thread-safe.
class ExpertFinder {
 public:
  // `inside`: where the words within the layer begin in the name. All tensors of layers first.
  void learn(std::string_view name, std::size_t inside, const TensorInfo& info);
  Experts find(std::string_view name, std::size_t inside, const TensorInfo& info) const;

 private:
  // Stacked ones in a module with a router, but in none of their own.
  Experts beside_router(std::string_view name, std::size_t inside, const TensorInfo& info) const;

  // By the module above router and experts ("model.layers.3.mlp."): its experts.
  std::map<std::string_view, std::uint64_t> routed_;   // as the router says
  std::map<std::string_view, std::uint64_t> stacked_;  // as stacked tensors say
};

}  // namespace shardswarm
