// What `inspect` says of a selection.
#pragma once

#include <nlohmann/json.hpp>

#include "node/directory.h"

namespace shardswarm::cli {

// The selection of a model whose needed headers are there. One call prints, one makes JSON.
void print_selection(const Selection& selection, const ResolvedSelection& chosen,
                     const Manifest& manifest, const Outline& outline);
nlohmann::ordered_json selection_report(const Selection& selection, const ResolvedSelection& chosen,
                                        const Manifest& manifest, const Outline& outline);

}  // namespace shardswarm::cli
