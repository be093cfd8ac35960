#include "node/address_book.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace shardswarm {
namespace {

constexpr Duration kBackoffMin = std::chrono::milliseconds(250);
constexpr Duration kBackoffMax = std::chrono::seconds(8);
constexpr std::uint32_t kLearnedFailuresMax = 4;
constexpr Duration kLeaveAlone = std::chrono::minutes(5);
constexpr Duration kShortLived = std::chrono::seconds(5);
constexpr std::size_t kEntriesMax = 4096;

}  // namespace

// All changes of an entry's state and due time: the sums over all entries follow.
void AddressBook::move(Entry& entry, State state, Time due) {
  if (entry.state == State::kIdle) idle_dues_.erase(idle_dues_.find(entry.due));
  if (entry.state == State::kDialing) --dialing_;
  entry.state = state;
  entry.due = due;
  if (state == State::kIdle) idle_dues_.insert(due);
  if (state == State::kDialing) ++dialing_;
}

void AddressBook::add_given(const std::string& address, Time now) {
  const auto [it, added] = entries_.try_emplace(address, Entry{.due = now, .error = {}});
  if (added) idle_dues_.insert(now);
  it->second.given = true;
}

void AddressBook::add_learned(const std::string& address, Time now) {
  if (entries_.size() >= kEntriesMax) return;
  const auto [it, added] = entries_.try_emplace(address, Entry{.due = now, .error = {}});
  if (added) idle_dues_.insert(now);
}

std::vector<std::string> AddressBook::take_due(Time now, std::size_t most) {
  std::vector<std::string> due;
  if (idle_dues_.empty() || *idle_dues_.begin() > now) return due;
  for (auto& [address, entry] : entries_) {
    if (dialing_ >= most) break;
    if (entry.state != State::kIdle || entry.due > now) continue;
    move(entry, State::kDialing, entry.due);
    due.push_back(address);
  }
  return due;
}

std::optional<Time> AddressBook::next_due() const {
  if (idle_dues_.empty()) return std::nullopt;
  return *idle_dues_.begin();
}

void AddressBook::failed(const std::string& address, Error error, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state == State::kNever) return;
  Entry& entry = it->second;
  const auto shift = std::min(entry.failures, 5U);
  ++entry.failures;
  const bool leave_alone = !entry.given && entry.failures >= kLearnedFailuresMax;
  move(entry, State::kIdle,
       now + (leave_alone ? kLeaveAlone : std::min(kBackoffMin * (1 << shift), kBackoffMax)));
  entry.error = std::move(error);
  entry.failed_at = now;
}

void AddressBook::connected(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state == State::kNever) return;
  move(it->second, State::kConnected, it->second.due);
  it->second.connected_at = now;
  it->second.error.reset();
}

void AddressBook::disconnected(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state != State::kConnected) return;
  Entry& entry = it->second;
  entry.failures = now - entry.connected_at < kShortLived ? entry.failures + 1 : 0;
  const auto shift = std::min(entry.failures, 5U);
  move(entry, State::kIdle, now + std::min(kBackoffMin * (1 << shift), kBackoffMax));
}

void AddressBook::never(const std::string& address) {
  const auto it = entries_.find(address);
  if (it != entries_.end()) move(it->second, State::kNever, it->second.due);
}

std::optional<Error> AddressBook::all_given_refused() const {
  const bool hopeless = std::all_of(entries_.begin(), entries_.end(), [](const auto& named) {
    const Entry& entry = named.second;
    return !entry.given || entry.state == State::kNever ||
           (entry.error &&
            (entry.error->code == Errc::kRefused || entry.error->code == Errc::kVersion));
  });
  return hopeless ? all_given_failed() : std::nullopt;
}

std::optional<Error> AddressBook::all_given_failed() const {
  const Entry* latest = nullptr;
  for (const auto& [address, entry] : entries_) {
    if (entry.state == State::kConnected) return std::nullopt;
    if (!entry.given || entry.state == State::kNever) continue;
    if (!entry.error) return std::nullopt;
    if (latest == nullptr || entry.failed_at > latest->failed_at) latest = &entry;
  }
  if (latest == nullptr) return std::nullopt;
  return latest->error;
}

}  // namespace shardswarm
