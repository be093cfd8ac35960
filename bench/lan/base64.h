// Bytes inside JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace shardswarm::bench {

std::string to_base64(std::string_view bytes);
// kMalformed unless it is what to_base64 gives for some bytes.
Result<std::string> from_base64(std::string_view text);

}  // namespace shardswarm::bench
