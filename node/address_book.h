// Addresses to dial: those given by the user, tried again for ever, and those learned from peers,
// left alone for minutes after a few failures. Not thread-safe; time is handed in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "piece/error.h"
#include "scheduler/time.h"

namespace shardswarm {

class AddressBook {
 public:
  void add_given(const std::string& address, Time now);
  void add_learned(const std::string& address, Time now);  // ignored when the book is full

  // Addresses to dial now, so that at most `most` are under way; each is until failed(),
  // connected() or never().
  std::vector<std::string> take_due(Time now, std::size_t most);
  std::optional<Time> next_due() const;

  void failed(const std::string& address, Error error, Time now);
  void connected(const std::string& address, Time now);
  // A connection that lasted a few seconds only counts as a failure: an overloaded peer is not
  // knocked at four times a second.
  void disconnected(const std::string& address, Time now);
  void never(const std::string& address);  // ourselves, or a banned node

  // The latest failure of a given address; nothing unless all given addresses failed the last time
  // they were tried and none is connected.
  std::optional<Error> all_given_failed() const;
  // The same if each failed in a way that knocking again cannot mend (kRefused, kVersion).
  std::optional<Error> all_given_refused() const;

 private:
  enum class State : std::uint8_t { kIdle, kDialing, kConnected, kNever };
  struct Entry {
    bool given = false;
    State state = State::kIdle;
    Time due{};
    std::uint32_t failures = 0;  // in a row
    std::optional<Error> error;
    Time failed_at{};
    Time connected_at{};
  };
  void move(Entry& entry, State state, Time due);

  std::map<std::string, Entry> entries_;
  std::multiset<Time> idle_dues_;  // of idle entries
  std::size_t dialing_ = 0;
};

}  // namespace shardswarm
