#include "node/refusal_log.h"

namespace shardswarm {

bool RefusalLog::is_new(std::string_view address, std::string_view reason) {
  Refusal refusal(address.substr(0, address.rfind(':')), reason);
  if (!known_.insert(refusal).second) return false;
  in_order_.push_back(std::move(refusal));
  if (in_order_.size() > kRememberedMax) {
    known_.erase(in_order_.front());
    in_order_.pop_front();
  }
  return true;
}

}  // namespace shardswarm
