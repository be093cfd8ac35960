// Which refused connections the operator is warned of. A node with a wrong key knocks every few
// seconds, and one line is enough; strangers must not fill the log.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"

namespace shardswarm {

// It remembers the last kRememberedMax refusals that were warned of, each as a host and a reason.
// IPv6 addresses with the same first 64 bits count as one host: whoever has one of these addresses
// has all of them. Not thread-safe; time is handed in.
class RefusalLog {
 public:
  static constexpr std::size_t kRememberedMax = 1024;
  static constexpr std::size_t kWarningsPerMinuteMax = 20;

  struct Verdict {
    bool warn = false;  // this refusal is worth a warning
    // How many refusals got no warning in the minute before, which had too many. Told once.
    std::size_t more = 0;
  };

  // A connection from `address` (HOST:PORT) was refused for `reason`. The port is another one with
  // every connection and does not count. `matters`: the operator can do something about it.
  Verdict add(std::string_view address, std::string_view reason, bool matters, Time now);

 private:
  using Refusal = std::pair<std::string, std::string>;  // host, reason
  std::set<Refusal> known_;
  std::deque<Refusal> in_order_;
  std::optional<Time> minute_;  // when the minute began that is counted
  std::size_t warnings_ = 0;    // in this minute
  std::size_t more_ = 0;        // in this minute, beyond kWarningsPerMinuteMax
};

}  // namespace shardswarm
