#include "transport/dial_race.h"

#include <algorithm>
#include <cassert>

namespace shardswarm {

DialRace::DialRace(const std::vector<Family>& families) {
  std::deque<std::size_t> first;   // of the family that the resolver prefers
  std::deque<std::size_t> second;  // of the other
  for (std::size_t i = 0; i < families.size(); ++i) {
    (families[i] == families.front() ? first : second).push_back(i);
  }
  while (to_try_.size() < kAddressesMax && !(first.empty() && second.empty())) {
    const bool turn = second.empty() || (to_try_.size() % 2 == 0 && !first.empty());
    std::deque<std::size_t>& from = turn ? first : second;
    to_try_.push_back(from.front());
    from.pop_front();
  }
}

std::optional<std::size_t> DialRace::take_due(Time now) {
  if (to_try_.empty() || now < due_) return std::nullopt;
  const std::size_t address = to_try_.front();
  to_try_.pop_front();
  under_way_.insert(address);
  due_ = now + kNextAfter;
  return address;
}

std::optional<Time> DialRace::next_due() const {
  if (to_try_.empty()) return std::nullopt;
  return due_;
}

void DialRace::failed(std::size_t address, Time now) {
  const bool was_under_way = under_way_.erase(address) == 1;
  assert(was_under_way);
  if (was_under_way) due_ = std::min(due_, now);
}

void DialRace::won(std::size_t address) {
  under_way_.erase(address);
  to_try_.insert(to_try_.begin(), under_way_.begin(), under_way_.end());
  under_way_.clear();
  due_ = Time{};
}

}  // namespace shardswarm
