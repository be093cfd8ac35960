// Checkpoints of the very names, shapes, dtypes and files of published models, or smaller copies of
// the same structure. Plain functions: any thread may use them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tools/model_tables.h"
#include "tools/synthetic.h"

namespace shardswarm {

struct RealModelOptions {
  // Hidden, intermediate and head sizes and the vocabulary through so much; the numbers of heads,
  // layers and experts stay. What was odd stays odd, nothing falls below 1. So do the files: their
  // limit is divided by its square, as matrices are.
  std::uint64_t divide = 1;
  std::optional<std::uint32_t> layers;      // a second stack gets no more than this either
  std::optional<std::uint32_t> experts;     // in each layer that has some
  std::optional<std::uint64_t> vocabulary;  // as it is, not divided
  std::optional<std::uint32_t> files;       // of about the same bytes, instead of the model's own
};

std::vector<std::string> real_model_names();

// kNotFound for a name that has no table; kUsage for experts where there are none.
Result<SyntheticModel> real_model(std::string_view name, const RealModelOptions& options = {});

// The tensors of a table's rows in its order, and the config.json that goes with them: what
// real_model() puts together. REQUIRES: a table without mistakes.
std::vector<PlannedTensor> tensors_of(const ModelTable& table,
                                      const RealModelOptions& options = {});
std::string config_of(const ModelTable& table, const RealModelOptions& options = {});

}  // namespace shardswarm
