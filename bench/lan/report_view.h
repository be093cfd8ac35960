// What of a result is shown side by side: of each tool the best of its settings.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/lan/report_text.h"

namespace shardswarm::bench {

// The best settings of a tool; where it may compare digests or not, the best of both kinds.
struct Entry {
  std::string tool;
  std::optional<bool> verify;  // its setting, where it has one
  bool best = false;           // of its tool
  Place summary;               // the element of /summary
  std::vector<Place> runs;     // measured ones with these settings, without errors
  Place typical;               // of the runs the one nearest to the median makespan
};

// Whether two runs or summaries are of one tool and the same settings, whatever their order.
bool same_settings(const Place& one, const Place& other);

// Fastest first. Settings of which no run went well are left out.
std::vector<Entry> entries(const Place& result);

// The shardswarm entry, or nullptr.
const Entry* ours(const std::vector<Entry>& entries);

// HTML: the tool's name, and whether it compared digests.
std::string tool_label(const Entry& entry);

// Nodes of a run with this role ("source", "fetcher").
std::vector<Place> nodes(const Place& run, std::string_view role);

}  // namespace shardswarm::bench
