// One dial: an address as somebody wrote it becomes a connected socket.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "node/congestion.h"
#include "node/dial_race.h"
#include "piece/error.h"

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

  // Calls `done` once, at the latest after 5 s (10 s when there is a name to be resolved).
  // kUsage: not an address; kUnreachable: not resolved, or no address connected, and why for each;
  // kRefused: there are only addresses that loopback_only rules out.
  void start(Done done);

  // What answered turned out to be no peer of ours, as `why` says. Tries the addresses that were
  // not tried to the end and calls `done` again. Returns false, and does nothing, if there is none.
  bool try_others(const Error& why);
  // What to report when nothing is left: the latest refusal if there was one, else `last`; with the
  // address.
  Error failure(const Error& last) const;

 private:
  void resolved(const std::vector<asio::ip::tcp::endpoint>& found);
  void arm_deadline(std::chrono::seconds limit);
  void advance();
  void attempt(std::size_t index);
  void attempted(std::size_t index, asio::error_code ec);
  void finish(Result<asio::ip::tcp::socket> result);
  std::string why_not() const;
  Error with_address(const Error& error) const;

  asio::io_context& io_;
  const Congestion& congestion_;
  Options options_;
  Done done_;
  bool waiting_ = false;  // done_ is to be called
  asio::ip::tcp::resolver resolver_;
  asio::steady_timer deadline_;
  asio::steady_timer next_attempt_;
  std::vector<asio::ip::tcp::endpoint> endpoints_;
  DialRace race_{{}};
  std::map<std::size_t, std::shared_ptr<asio::ip::tcp::socket>> attempts_;  // under way
  std::map<std::size_t, std::string> failures_;  // why, in the order of the endpoints
  std::optional<std::size_t> connected_;         // the last that was handed over
  std::chrono::seconds limit_{};
  std::optional<Error> refused_;
};

}  // namespace shardswarm
