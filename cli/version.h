// What this program was built from and with: what `--version` prints, and what a report of a fault
// should quote.
#pragma once

#include <string>

namespace shardswarm::cli {

// Several lines without a newline at the end. The first is "shardswarm " and the version of three
// numbers, alone, for scripts. The others name the commit, OpenSSL as it was loaded, whether
// io_uring was built in, and the compiler. Any thread may call it.
std::string version_text();

}  // namespace shardswarm::cli
