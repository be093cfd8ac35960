// How a selection is reported: the plain parts that it stands for, and the files that it leaves
// out.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "node/shardswarm.h"

namespace shardswarm::cli {

// For people, lines that end with newlines; empty without a preset:
//   --for exo --rank 1/3 means --layers 11-21 --shared all
std::string preset_text(const Selection& asked, const Selection& parts,
                        const std::string& engine_setting);

// For people, lines that end with newlines: which files were left out, how large they are, why, and
// the flags that bring them. Empty when none was.
std::string left_out_text(const LeftOutReport& left_out);

// Adds the members that docs/selection.md describes to an event or a report.
void put_selection(nlohmann::ordered_json& fields, const Selection& parts,
                   const std::string& engine_setting, const LeftOutReport& left_out);

}  // namespace shardswarm::cli
