// The result of a measurement as one self-contained HTML page.
#pragma once

#include <string>

#include "base/error.h"
#include "bench/lan/json.h"

namespace shardswarm::bench {

// The page for a result of schema 1: styles and SVG are inside, nothing is loaded, no script is
// needed. What comes from the result is escaped. Every figure shown stands in an element with
// `data-value`, the raw JSON value, and with `data-path`, its JSON pointer in the result, or with
// `data-derived`, what was computed of several. kMalformed if the result lacks what the schema
// says.
Result<std::string> html_report(const Json& result);

}  // namespace shardswarm::bench
