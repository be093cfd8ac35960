// The race between the addresses of one name: which is tried when (RFC 8305, "happy eyeballs").
//
// A name often has an IPv6 and an IPv4 address, and one of them may lead nowhere: packets to it
// vanish, and nothing says so. So the families take turns, and an attempt that has not ended after
// kNextAfter is not waited for: the next one begins beside it. The first that connects wins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "base/time.h"

namespace shardswarm {

enum class Family : std::uint8_t { kV4, kV6 };

// A state machine without I/O. Not thread-safe; time is handed in. An address is named by its index
// in the list that the constructor was given.
class DialRace {
 public:
  // RFC 8305 recommends 250 ms: more than most round trips, and hardly noticed.
  static constexpr Duration kNextAfter = std::chrono::milliseconds(250);
  // A name may have any number of addresses. At most this many are tried, of both families.
  static constexpr std::size_t kAddressesMax = 8;

  // `families` of the addresses, in the order in which the resolver prefers them.
  explicit DialRace(const std::vector<Family>& families);

  // The address to which an attempt begins now; nothing if none is due. Call it again until then.
  std::optional<std::size_t> take_due(Time now);
  // When take_due() has something at the latest. Nothing when no address is left to try.
  std::optional<Time> next_due() const;

  // An attempt ended without a connection: the next one begins at once.
  void failed(std::size_t address, Time now);
  // An attempt connected. The others under way are given up. What answers may turn out to be no
  // peer of ours: then take_due() begins with those that were given up.
  void won(std::size_t address);

  // No attempt is under way and no address is left.
  bool lost() const { return to_try_.empty() && under_way_.empty(); }

 private:
  std::deque<std::size_t> to_try_;
  std::set<std::size_t> under_way_;
  Time due_{};
};

}  // namespace shardswarm
