// `fetch --json`: what happens, one JSON object a line. The fields are documented in docs/json.md;
// they are stable: later versions add fields and events, and change none without another "schema".
#pragma once

#include <chrono>
#include <string>

#include "cli/terminal.h"
#include "node/shardswarm.h"

namespace shardswarm::cli {

// Every event begins with "schema", "event", "time" (UTC, RFC 3339 with milliseconds) and "host".
// progress() belongs to one thread, the node's; the others may be called by any. Writes nothing
// unless `on`.
class EventLines {
 public:
  EventLines(Terminal& terminal, bool on);

  bool on() const { return on_; }
  // At most once a second, and at the end.
  void progress(const FetchProgress& progress);
  void happened(const FetchEvent& event);
  void plan(const FetchPlan& plan);
  void done(const FetchReport& report);
  void error(const Error& error, int exit_code);

 private:
  Terminal& terminal_;
  const bool on_;
  std::string host_;
  std::chrono::steady_clock::time_point last_;  // of the last progress
};

}  // namespace shardswarm::cli
