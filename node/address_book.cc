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

void AddressBook::add_given(const std::string& address, Time now) {
  Entry& entry = entries_.try_emplace(address, Entry{.due = now, .error = {}}).first->second;
  entry.given = true;
}

void AddressBook::add_learned(const std::string& address, Time now) {
  if (entries_.size() >= kEntriesMax) return;
  entries_.try_emplace(address, Entry{.due = now, .error = {}});
}

std::vector<std::string> AddressBook::take_due(Time now, std::size_t most) {
  std::vector<std::string> due;
  std::size_t under_way = 0;
  for (const auto& [address, entry] : entries_) under_way += entry.state == State::kDialing;
  for (auto& [address, entry] : entries_) {
    if (under_way + due.size() >= most) break;
    if (entry.state != State::kIdle || entry.due > now) continue;
    entry.state = State::kDialing;
    due.push_back(address);
  }
  return due;
}

std::optional<Time> AddressBook::next_due() const {
  std::optional<Time> next;
  for (const auto& [address, entry] : entries_) {
    if (entry.state == State::kIdle && (!next || entry.due < *next)) next = entry.due;
  }
  return next;
}

void AddressBook::failed(const std::string& address, Error error, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state == State::kNever) return;
  Entry& entry = it->second;
  const auto shift = std::min(entry.failures, 5U);
  entry.due = now + std::min(kBackoffMin * (1 << shift), kBackoffMax);
  ++entry.failures;
  if (!entry.given && entry.failures >= kLearnedFailuresMax) entry.due = now + kLeaveAlone;
  entry.state = State::kIdle;
  entry.error = std::move(error);
  entry.failed_at = now;
}

void AddressBook::connected(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state == State::kNever) return;
  it->second.state = State::kConnected;
  it->second.connected_at = now;
  it->second.error.reset();
}

void AddressBook::disconnected(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state != State::kConnected) return;
  Entry& entry = it->second;
  entry.state = State::kIdle;
  entry.failures = now - entry.connected_at < kShortLived ? entry.failures + 1 : 0;
  entry.due = now + std::min(kBackoffMin * (1 << std::min(entry.failures, 5U)), kBackoffMax);
}

void AddressBook::never(const std::string& address) {
  const auto it = entries_.find(address);
  if (it != entries_.end()) it->second.state = State::kNever;
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
