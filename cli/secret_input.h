// A secret read from the standard input.
#pragma once

#include <string>
#include <string_view>

#include "cli/context.h"

namespace shardswarm::cli {

// All of the standard input. On a terminal `prompt` is shown, what is typed is not, and a line ends
// it (a key in PEM ends with its last line). kMalformed beyond 1 MiB; kCancelled after SIGINT.
Result<std::string> read_secret(Context& context, std::string_view prompt);

}  // namespace shardswarm::cli
