#include "node/refusal_log.h"

#include <chrono>

#include "base/address.h"

namespace shardswarm {

RefusalLog::Verdict RefusalLog::add(std::string_view address, std::string_view reason, bool matters,
                                    Time now) {
  Verdict verdict;
  if (!minute_ || now - *minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    warnings_ = 0;
    verdict.more = std::exchange(more_, 0);
  }
  if (!matters) return verdict;
  Refusal refusal(network_of(address.substr(0, address.rfind(':'))), reason);
  if (known_.contains(refusal)) return verdict;
  if (warnings_ == kWarningsPerMinuteMax) {
    ++more_;
    return verdict;
  }
  ++warnings_;
  verdict.warn = true;
  known_.insert(refusal);
  in_order_.push_back(std::move(refusal));
  if (in_order_.size() > kRememberedMax) {
    known_.erase(in_order_.front());
    in_order_.pop_front();
  }
  return verdict;
}

}  // namespace shardswarm
