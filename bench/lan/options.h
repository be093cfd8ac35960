// What the command line says.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bench/lan/hosts.h"

namespace shardswarm::bench {

struct Options {
  std::string command;  // all of the command line, quoted for a shell
  std::string scenario;
  std::string hosts_file;  // empty: namespaces, Slurm or loopback
  std::uint32_t namespaces = 0;
  std::uint32_t local = 0;     // hosts on loopback; 0: as many as the scenario needs
  std::string rate, up, down;  // netbox's words; empty: not limited, or not known
  std::uint64_t size = std::uint64_t{2} << 30;
  std::uint32_t layers = 32, vocabulary = 8192;
  std::string model;  // a checkpoint on the source's host; empty: one is made
  std::string rivals = "none";
  bool whole_grid = false;
  std::uint32_t repeats = 5;
  std::uint32_t stages = 4, replicas = 2;
  bool tls = false;
  std::string engine = "auto";
  bool cold = false;
  std::string directory;  // for data, on every host; empty: /dev/shm, or the temporary directory
  std::string remote_directory = ".cache/shardswarm-bench";  // for copied programs, from the home
  std::string ssh = "ssh";                                   // the command, with options
  std::string seed_arguments,
      fetch_arguments;               // more flags of shardswarm, by spaces
  double patience_seconds = 900;     // until a run counts as hanging
  std::string json_file, html_file;  // empty: not written
  std::filesystem::path programs;    // where this program and its neighbours are
  std::filesystem::path root;        // of the project: bench/rivals and tools/netbox.py
};

}  // namespace shardswarm::bench
