// Finds the shape of a generated model of a given size. Pure functions: any thread may use them.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "tools/synthetic.h"

namespace shardswarm {

// What makes a family's model of a shape: llama_model, mixtral_model or deepseek_model.
using MakeModel = SyntheticModel (*)(const TransformerShape&);

// Sets the widths and the numbers of heads of `shape` so that the tensors of make(shape) have at
// most `bytes` bytes, and at least 97 % of them; layers, vocabulary, experts, files and dtype stay
// as they are. The hidden size is a multiple of 128 from 128 upwards, the intermediate size is near
// 11/4 of it, as in Llama's models. kUsage if the smallest model with these layers, this vocabulary
// and these experts is larger than `bytes`; the message says how large that one is.
Result<TransformerShape> shape_of_size(TransformerShape shape, std::uint64_t bytes, MakeModel make);

}  // namespace shardswarm
