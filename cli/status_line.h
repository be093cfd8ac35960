// The line that tells how far a command is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace shardswarm::cli {

// What a status line says. Texts hold printable ASCII. Of them `state` always stands in the line;
// the others stand there as far as the terminal is wide enough, in the order of their importance:
// percent, time left, rate, amount, peers, bar.
struct Status {
  std::optional<double> fraction;  // of the work, 0 to 1; nothing while it is not known
  std::string state;               // "fetching"; a whole clause: "waiting for a peer (…)"
  std::string short_state;         // where `state` does not fit; empty: `state`, cut off
  std::string time_left;           // "0:03 left"
  std::string rate;                // "156 MiB/s"
  std::string amount;              // "420 MiB of 962 MiB"
  std::string peers;               // "3 peers"
};

// The status in one line of less than `columns` characters. At 25 columns it holds percent, time
// left and a short state, at 40 the rate, too, at 80 all but the bar.
std::string status_line(const Status& status, std::size_t columns);

// The status without limit and bar: for logs.
std::string status_text(const Status& status);

}  // namespace shardswarm::cli
