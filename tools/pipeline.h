// A small checkpoint of a diffusion pipeline's structure: components in folders of their own, each
// with its configuration, the largest in several files with an index. Plain functions: any thread
// may use them.
#pragma once

#include <cstdint>

#include "tools/synthetic.h"

namespace shardswarm {

struct PipelineOptions {
  std::uint32_t layers = 6;  // of the transformer
  std::uint32_t files = 2;   // of the transformer
};

SyntheticModel diffusion_pipeline(const PipelineOptions& options = {});

}  // namespace shardswarm
