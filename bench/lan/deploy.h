// Our programs on a host that is reached by ssh.
#pragma once

#include "bench/lan/cluster.h"

namespace shardswarm::bench {

// The ssh command for a host, as words; a remote command may follow.
std::vector<std::string> ssh_words(const Options& options, const HostSpec& host);

// One word of a shell's, whatever it holds.
std::string shell_quoted(std::string_view text);

// Where the programs are on the host: in a directory named by their digest below
// options.remote_directory. Copied if they are not there yet.
Result<Programs> deploy(Loop& loop, const Options& options, const HostSpec& host);

}  // namespace shardswarm::bench
