#include "swarm/address_book.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <utility>

namespace shardswarm {
namespace {

constexpr Duration kBackoffMin = std::chrono::milliseconds(250);
constexpr Duration kBackoffMax = std::chrono::seconds(8);
constexpr std::uint32_t kLearnedFailuresMax = 4;
constexpr Duration kLeaveAlone = std::chrono::minutes(5);
constexpr Duration kShortLived = std::chrono::seconds(5);
constexpr Duration kFullMin = std::chrono::milliseconds(500);
constexpr std::uint32_t kFullDoublingsMax = 7;  // 64 s
constexpr std::size_t kEntriesMax = 4096;
constexpr std::size_t kEntriesPerTellerMax = kEntriesMax / 8;

std::size_t below(std::size_t end, AddressBook::Random& random) {
  return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
}

Error full_error(const std::string& address) {
  return {Errc::kUnreachable, address + " has as many connections as it takes"};
}

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

void AddressBook::add_given(const std::string& address, Time now, std::uint32_t node) {
  const auto [it, added] =
      entries_.try_emplace(address, Entry{.given = true, .node = node, .due = now, .error = {}});
  if (added) {
    idle_dues_.insert(now);
    return;
  }
  Entry& entry = it->second;
  if (!std::exchange(entry.given, true)) {
    entry.node = node;
    leave_told(*it);
  }
  // Whoever names it again expects an answer of today, also while it is dialed. One that is full is
  // left its time.
  if (entry.state == State::kNever || !entry.error || entry.refusals > 0) return;
  entry.error.reset();
  if (entry.state == State::kIdle) move(entry, State::kIdle, now);
}

void AddressBook::add_learned(const std::string& address, const NodeId& teller, bool near,
                              Time now) {
  if (entries_.contains(address)) return;
  if (const auto own = told_.find(teller); own != told_.end()) {
    const bool full = own->second.size() >= kEntriesPerTellerMax;
    if (full && !make_room(own->second, true, now)) return;
  }
  if (entries_.size() >= kEntriesMax && !make_room_in_all(now)) return;
  auto& [told_by, told] = *told_.try_emplace(teller).first;
  const auto added =
      entries_.emplace(address, Entry{.near = near, .due = now, .teller = &told_by, .error = {}});
  idle_dues_.insert(now);
  told.push_back(&*added.first);
}

// Left alone for minutes, and that is over or it failed again. Not before: who tells of ever new
// addresses that do not answer shall not have us dial more of them than have room.
bool AddressBook::is_dead(const Entry& entry, Time now) {
  if (entry.state != State::kIdle || entry.failures < kLearnedFailuresMax) return false;
  return entry.failures > kLearnedFailuresMax || entry.due <= now;
}

void AddressBook::leave_told(Entries::value_type& named) {
  const auto told = told_.find(*std::exchange(named.second.teller, nullptr));
  std::erase(told->second, &named);
  if (told->second.empty()) told_.erase(told);
}

// REQUIRES: learned and idle.
void AddressBook::forget(Entries::value_type& named) {
  leave_told(named);
  idle_dues_.erase(idle_dues_.find(named.second.due));
  entries_.erase(entries_.find(named.first));
}

// Whether one of these could be forgotten.
bool AddressBook::make_room(const Told& told, bool untried_too, Time now) {
  auto it =
      std::ranges::find_if(told, [&](const auto* named) { return is_dead(named->second, now); });
  if (it == told.end() && untried_too) {
    it = std::ranges::find_if(told, [](const auto* named) {
      const Entry& entry = named->second;
      return entry.state == State::kIdle && !entry.answered && !entry.error;
    });
  }
  if (it == told.end()) return false;
  forget(**it);
  return true;
}

bool AddressBook::make_room_in_all(Time now) {
  const auto most =
      std::ranges::max_element(told_, {}, [](const auto& told) { return told.second.size(); });
  if (most == told_.end()) return false;
  return make_room(most->second, true, now) || std::ranges::any_of(told_, [&](const auto& told) {
           return make_room(told.second, false, now);
         });
}

std::vector<std::string> AddressBook::take_due(Time now, std::size_t most, std::size_t near,
                                               Random& random, const std::set<NodeId>* tellers) {
  std::vector<std::string> taken;
  if (dialing_ >= most || idle_dues_.empty() || *idle_dues_.begin() > now) return taken;
  std::size_t near_dialing = 0;
  const auto take = [&](Entries::value_type& named) {
    move(named.second, State::kDialing, named.second.due);
    near_dialing += named.second.near ? 1U : 0U;
    taken.push_back(named.first);
  };
  std::array<std::map<NodeId, std::vector<Entries::value_type*>>, 2> due;  // far, near
  for (auto& named : entries_) {
    const Entry& entry = named.second;
    if (entry.state == State::kDialing && entry.near) ++near_dialing;
    if (entry.state != State::kIdle || entry.due > now) continue;
    if (tellers != nullptr && !entry.given && !tellers->contains(*entry.teller)) continue;
    if (entry.given && !entry.error && !entry.answered && dialing_ < most) {
      take(named);
    } else {
      due[entry.near ? 1 : 0][entry.given ? NodeId{} : *entry.teller].push_back(&named);
    }
  }
  while (dialing_ < most && !(due[0].empty() && due[1].empty())) {
    const bool take_near = due[0].empty() || (near_dialing < near && !due[1].empty());
    auto& from = due[take_near ? 1 : 0];
    const auto of =
        std::next(from.begin(), static_cast<std::ptrdiff_t>(below(from.size(), random)));
    std::swap(of->second[below(of->second.size(), random)], of->second.back());
    take(*of->second.back());
    of->second.pop_back();
    if (of->second.empty()) from.erase(of);
  }
  return taken;
}

bool AddressBook::is_due(bool near, Time now) const {
  if (idle_dues_.empty() || *idle_dues_.begin() > now) return false;
  return std::ranges::any_of(entries_, [&](const auto& named) {
    const Entry& entry = named.second;
    return entry.state == State::kIdle && entry.due <= now && entry.near == near;
  });
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
  entry.error = std::make_unique<const Error>(std::move(error));
  entry.failed_at = now;
}

void AddressBook::connected(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state == State::kNever) return;
  move(it->second, State::kConnected, it->second.due);
  it->second.answered = true;
  it->second.connected_at = now;
  it->second.error.reset();
}

bool AddressBook::came(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state != State::kIdle) return false;
  connected(address, now);
  return true;
}

void AddressBook::disconnected(const std::string& address, Time now) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state != State::kConnected) return;
  Entry& entry = it->second;
  if (now - entry.connected_at >= kShortLived) entry.refusals = 0;
  entry.failures = now - entry.connected_at < kShortLived ? entry.failures + 1 : 0;
  const auto shift = std::min(entry.failures, 5U);
  move(entry, State::kIdle, now + std::min(kBackoffMin * (1 << shift), kBackoffMax));
}

void AddressBook::full(const std::string& address, Time now, Random& random) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.state == State::kNever) return;
  Entry& entry = it->second;
  if (entry.state == State::kConnected && now - entry.connected_at >= kShortLived) {
    entry.refusals = 0;
  }
  entry.refusals = std::min(entry.refusals + 1, kFullDoublingsMax);
  const Duration delay = kFullMin * (1 << entry.refusals);
  move(entry, State::kIdle,
       now + delay / 2 +
           Duration(std::uniform_int_distribution<Duration::rep>(0, delay.count())(random)));
  entry.failures = 0;
  entry.answered = true;
  entry.error = std::make_unique<const Error>(full_error(address));
  entry.failed_at = now;
}

void AddressBook::never(const std::string& address) {
  const auto it = entries_.find(address);
  if (it != entries_.end()) move(it->second, State::kNever, it->second.due);
}

std::optional<Error> AddressBook::all_given_refused(bool every_address) const {
  if (!all_given_failed()) return std::nullopt;
  const Entry* latest = nullptr;
  std::map<std::uint32_t, bool> refused;  // nodes of several addresses
  for (const auto& [address, entry] : entries_) {
    if (!entry.given || entry.state == State::kNever) continue;
    const bool hopeless =
        entry.error->code == Errc::kRefused || entry.error->code == Errc::kVersion;
    if ((entry.node == 0 || every_address) && !hopeless) return std::nullopt;
    refused[entry.node] = refused[entry.node] || hopeless;
    if (hopeless && (latest == nullptr || entry.failed_at > latest->failed_at)) latest = &entry;
  }
  const bool each = std::ranges::all_of(refused, [](const auto& node) { return node.second; });
  return each && latest != nullptr ? std::optional(*latest->error) : std::nullopt;
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
  return *latest->error;
}

bool AddressBook::every_node_answered() const {
  std::map<std::uint32_t, bool> answered;  // nodes of several addresses
  for (const auto& [address, entry] : entries_) {
    const bool connected = entry.state == State::kConnected;
    const bool done = connected || entry.state == State::kNever;
    if (!done && (entry.given ? entry.node == 0 : !entry.error)) return false;
    if (entry.given) answered[entry.node] = answered[entry.node] || connected;
  }
  return !answered.empty() &&
         std::ranges::all_of(answered, [](const auto& node) { return node.second; });
}

// That it answers, and takes the connection to say so, is what is seen of it meanwhile.
std::optional<Error> AddressBook::lack_of_room(Time now) const {
  const Entries::value_type* latest = nullptr;
  for (const auto& named : entries_) {
    const Entry& entry = named.second;
    if (entry.refusals == 0 || entry.failures > 0 || entry.state == State::kNever) continue;
    if (entry.state == State::kConnected && now - entry.connected_at >= kShortLived) continue;
    if (latest == nullptr || entry.failed_at > latest->second.failed_at) latest = &named;
  }
  if (latest == nullptr) return std::nullopt;
  return full_error(latest->first);
}

}  // namespace shardswarm
