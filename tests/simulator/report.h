// An outcome beside its bound, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include "simulator/bound.h"

namespace shardswarm::sim {

// How much longer it took than the bound; nothing if it is not complete, or nothing could be done.
std::optional<double> ratio(const Outcome& outcome, const Bound& bound);

// A line of figures and, with `nodes`, one per node.
std::string as_text(const Scenario& scenario, const Outcome& outcome, const Bound& bound,
                    bool nodes);
// One JSON object; seconds and bytes. The members are listed in tests/simulator/README.md.
std::string as_json(const Scenario& scenario, std::uint64_t seed, const Outcome& outcome,
                    const Bound& bound);

}  // namespace shardswarm::sim
