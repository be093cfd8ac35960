// The charts of the report, as HTML with inline SVG. Geometry is in percent or stretched, text is
// HTML: so all of it fits any width without a script.
#pragma once

#include <string>
#include <vector>

#include "bench/lan/report_view.h"

namespace shardswarm::bench {

// One bar a tool against the bound, every repeat a dot.
std::string makespan_chart(const std::vector<Entry>& entries);

// Of each tool's typical run, every node's rates over time, all on one scale.
std::string rate_charts(const Place& result, const std::vector<Entry>& entries);

// Of each tool's typical run, who had how many bytes from whom.
std::string exchange_charts(const std::vector<Entry>& entries);

}  // namespace shardswarm::bench
