// The tables of the report.
#pragma once

#include <string>
#include <vector>

#include "bench/lan/report_view.h"

namespace shardswarm::bench {

// CPU time, memory and what was sent in vain: a row a tool, and the nodes of its typical run.
std::string resource_tables(const std::vector<Entry>& entries);

// The settings that were tried, folded for each tool that has several; the best stands outside.
std::string settings_tables(const Place& result);

// The command, the versions, the date and the model. Results of older versions lack them: dashes.
std::string origin_table(const Place& result);

// Machines, what was moved and how, and the runs that failed.
std::string environment_tables(const Place& result);

}  // namespace shardswarm::bench
