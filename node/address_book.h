// Addresses to dial: those given by the user, tried again for ever, and those learned from peers,
// dropped after a few failures. Not thread-safe; time is handed in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "piece/error.h"
#include "scheduler/time.h"

namespace shardswarm {

class AddressBook {
 public:
  void add_given(const std::string& address, Time now);
  void add_learned(const std::string& address, Time now);  // ignored when the book is full

  // Addresses to dial now; each is then under way until failed(), connected() or never().
  std::vector<std::string> take_due(Time now);
  std::optional<Time> next_due() const;

  void failed(const std::string& address, Error error, Time now);
  void connected(const std::string& address);
  void disconnected(const std::string& address, Time now);
  void never(const std::string& address);  // ourselves, or a banned node

  bool empty() const { return entries_.empty(); }
  // The latest failure of a given address; nothing unless all given addresses failed the last time
  // they were tried and none is connected.
  std::optional<Error> all_given_failed() const;

 private:
  enum class State : std::uint8_t { kIdle, kDialing, kConnected, kNever };
  struct Entry {
    bool given = false;
    State state = State::kIdle;
    Time due{};
    std::uint32_t failures = 0;  // in a row
    std::optional<Error> error;
    Time failed_at{};
  };
  std::map<std::string, Entry> entries_;
};

}  // namespace shardswarm
