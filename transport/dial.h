// One dial: an address as somebody wrote it becomes a connected socket.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "transport/congestion.h"
#include "transport/dial_race.h"

namespace shardswarm {

// Resolves a name, tries its addresses in the order and at the times of DialRace, and hands over
// the first socket that connects; the others are closed. Network thread only.
class Dial : public std::enable_shared_from_this<Dial> {
 public:
  using Done = std::function<void(Result<asio::ip::tcp::socket>)>;

  struct Options {
    std::string address;         // HOST:PORT
    bool loopback_only = false;  // this node has no key: addresses of other machines are refused
  };

  // `congestion` must outlive the dial.
  Dial(asio::io_context& io, const Congestion& congestion, Options options);

  // Calls `done` once, at the latest after 5 s. A name has 10 s more to be resolved.
  // kUsage: not an address; kUnreachable: not resolved, or no address connected, and why for each;
  // kRefused: there are only addresses that loopback_only rules out.
  void start(Done done);

  // What answered turned out to be no peer of ours, as `why` says. Tries the addresses that were
  // not tried to the end and calls `done` again. Returns false, and calls nothing, if there is
  // none.
  bool try_others(const Error& why);
  // What to report when nothing is left: why each address that was tried led nowhere. kRefused or
  // kVersion only if each of them refused: one that does not answer today may be the right one.
  Error failure() const;

 private:
  void resolved(const std::vector<asio::ip::tcp::endpoint>& found);
  void arm_deadline(std::chrono::seconds limit);
  void advance();
  void attempt(std::size_t index);
  void attempted(std::size_t index, asio::error_code ec);
  void finish(Result<asio::ip::tcp::socket> result);
  // Whether a timer that was set in `round` is of no concern any more. Neither cancel() nor setting
  // a timer again stops a handler that is in the queue already, and it is called without an error.
  bool is_stale(std::uint32_t round) const { return !waiting_ || round != round_; }

  asio::io_context& io_;
  const Congestion& congestion_;
  Options options_;
  Done done_;
  bool waiting_ = false;     // done_ is to be called
  std::uint32_t round_ = 0;  // how often the deadline was set
  asio::ip::tcp::resolver resolver_;
  asio::steady_timer deadline_;
  asio::steady_timer next_attempt_;
  std::vector<asio::ip::tcp::endpoint> endpoints_;
  DialRace race_{{}};
  std::map<std::size_t, std::shared_ptr<asio::ip::tcp::socket>> attempts_;  // under way
  std::map<std::size_t, Error> failures_;  // in the order of the endpoints
  std::optional<std::size_t> connected_;   // the last that was handed over
  std::chrono::seconds limit_{};
};

}  // namespace shardswarm
