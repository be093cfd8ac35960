// Which safetensors files a compact directory has: one per unit (a layer of a stack, or what stands
// outside the layers), changed as little as possible when the directory is to hold other tensors.
#pragma once

#include <functional>

#include "piece/outline.h"
#include "storage/holding.h"

namespace shardswarm {

// What a directory of `before` becomes when it is to hold `needed`. Files that hold needed tensors
// only, with just the needed rows, stay as they are; the other needed tensors go into new files,
// one per unit; files of which these hold tensors are superseded: to be copied from, then removed.
// What nobody needs stays where it is (an unfinished fetch of something else), unless `purge`.
// `stands`: whether a file has its final name already; those are preferred. The steps are kept.
// kUsage when rows of a tensor are not one run, two needed tensors of a component have one name, or
// a path would be too long: such a selection needs the mirror layout.
Result<Holding> plan_compact(const Manifest& manifest, const Outline& outline,
                             const Holding& before, const TensorSet& needed,
                             const std::function<bool(const CompactFile&)>& stands, bool purge);

}  // namespace shardswarm
