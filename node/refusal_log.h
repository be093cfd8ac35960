// Whether a refusal is news: a node with a wrong key knocks every few seconds, and one line is
// enough to tell the operator.
#pragma once

#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace shardswarm {

// Remembers the last kRememberedMax refusals. Not thread-safe.
class RefusalLog {
 public:
  static constexpr std::size_t kRememberedMax = 1024;

  // Whether this host was not refused for this reason before, as far as is remembered. `address`
  // is HOST:PORT; the port is another one with every connection and does not count.
  bool is_new(std::string_view address, std::string_view reason);

 private:
  using Refusal = std::pair<std::string, std::string>;  // host, reason
  std::set<Refusal> known_;
  std::deque<Refusal> in_order_;
};

}  // namespace shardswarm
