// A secret read from the standard input.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cli/context.h"

namespace shardswarm::cli {

// All of the standard input. On a terminal `prompt` is shown, whatever --quiet says, and what is
// typed is not; there the text ends when it is `whole`, with an empty line, or with the end of the
// input (Ctrl-D). What is typed beyond that is thrown away: it may be the rest of a secret, and
// would else go to the shell. kMalformed beyond 1 MiB; kCancelled after SIGINT.
Result<std::string> read_secret(Context& context, std::string_view prompt,
                                const std::function<bool(const std::string&)>& whole);

}  // namespace shardswarm::cli
