// Which pieces that could not be read the operator is warned of: of a file that changed or went,
// many requests fail at once, and one line for it is enough.
#pragma once

#include <map>
#include <utility>

#include "swarm/core.h"

namespace shardswarm {

// Remembers the files that were warned of in the last minute, at most as many as models here have.
// Not thread-safe; time is handed in.
class LossLog {
 public:
  // A piece of this file could not be read. Whether that is worth a warning.
  bool add(ModelKey model, FileIndex file, Time now);

 private:
  std::map<std::pair<ModelKey, FileIndex>, Time> warned_;
};

}  // namespace shardswarm
