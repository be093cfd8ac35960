// Words about a measurement: its command, the model's name, and what it shows. Pure.
#pragma once

#include <span>
#include <string>

#include "bench/lan/result.h"

namespace shardswarm::bench {

// The words of a command line as a shell takes them back. Words that need no quotes have none.
std::string command_line(std::span<const std::string> words);

// What a checkpoint in this directory is called: "org/name" for a snapshot in a hub's cache
// (".../models--org--name/snapshots/REVISION"), else the directory's own name.
std::string model_name(const std::string& directory);

// One sentence for a reader who sees nothing else: what was moved in which time, how near that is
// to the bound where there is one, and how it compares with the fastest rival that verifies what it
// receives and with the fastest that does not. "shardswarm brought 2.23 GB from one host to another
// in 1.34 s, 3.3 times as fast as libtorrent with the best of 48 settings (median of five rounds)."
// If no run of shardswarm's went well, the sentence says that.
std::string conclusion_of(const Measurement& measurement);

}  // namespace shardswarm::bench
