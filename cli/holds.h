// What is said of a directory that holds a part of a model.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "node/directory.h"

namespace shardswarm::cli {

// One printable line: "layers 8-15, layer 3 in part, model.norm.weight". "everything" for a
// complete directory; empty where it is not known.
std::string holds_text(const HeldDirectory& held);

// The member `holds` of docs/json.md; null for a complete directory, and where it is not known.
nlohmann::ordered_json holds_json(const HeldDirectory& held);

}  // namespace shardswarm::cli
