// What `inspect` says of a selection.
#pragma once

#include <string>

#include "node/directory.h"

namespace shardswarm::cli {

// What a selection brings of a model whose needed headers are here. Lines for people.
std::string selection_text(const Selection& selection, const ResolvedSelection& chosen,
                           const Manifest& manifest, const Outline& outline);
// The same as one line of JSON.
std::string selection_report(const Selection& selection, const ResolvedSelection& chosen,
                             const Manifest& manifest, const Outline& outline);

}  // namespace shardswarm::cli
