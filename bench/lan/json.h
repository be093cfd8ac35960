// JSON as the harness uses it: members keep the order in which they were set.
#pragma once

#include <nlohmann/json.hpp>

namespace shardswarm::bench {

using Json = nlohmann::ordered_json;

}  // namespace shardswarm::bench
