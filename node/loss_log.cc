#include "node/loss_log.h"

#include <chrono>

namespace shardswarm {

bool LossLog::add(ModelKey model, FileIndex file, Time now) {
  std::erase_if(warned_,
                [now](const auto& entry) { return now - entry.second >= std::chrono::minutes(1); });
  return warned_.try_emplace({model, file}, now).second;
}

}  // namespace shardswarm
