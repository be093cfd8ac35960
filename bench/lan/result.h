// What a measurement brought, and its JSON: the one form in which results leave the harness. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/lan/bound.h"
#include "bench/lan/json.h"

namespace shardswarm::bench {

// Of one interval that ends at `seconds`; all traffic of the node's link, or, on loopback, of its
// process's TCP sockets.
struct RatePoint {
  double seconds = 0;
  double received = 0, sent = 0;  // bytes a second
};

struct NodeResult {
  std::string name;  // of its host
  bool source = false;
  double start_seconds = 0;
  std::optional<double> done_seconds;  // all verified and on disk; sources have none
  std::uint64_t wanted_bytes = 0;
  std::uint64_t received_bytes = 0, sent_bytes = 0;   // payload where the tool counts it, else link
  std::map<std::string, std::uint64_t> fetched_from;  // payload, by the host's name
  std::optional<std::uint64_t> duplicate_bytes;       // payload that came twice
  double cpu_seconds = 0;  // of the process and its children, until all nodes were done
  std::optional<std::uint64_t> peak_private_bytes;  // anonymous resident memory
  std::uint64_t peak_resident_bytes = 0;
  std::optional<std::uint64_t> disk_written_bytes;  // what reached the block layer: none on tmpfs
  std::vector<RatePoint> rate;
};

// One transfer by one tool. Seconds count from the start of the first fetcher.
struct RunResult {
  std::string tool;
  Json settings = Json::object();
  std::uint32_t repeat = 0;  // from 1; 0 for the warm-up
  bool warm_up = false;
  std::optional<std::string> error;  // then the times mean nothing
  double makespan_seconds = 0;       // the last fetcher's done
  std::optional<Bound> bound;
  std::optional<double> source_copies;  // what the sources sent, over the union of what was wanted
  std::vector<NodeResult> nodes;

  std::optional<double> ratio() const;  // makespan over bound
};

struct HostResult {
  std::string name;
  std::uint32_t cpus = 0;
  std::uint64_t memory_bytes = 0;
  std::string kernel;
  std::string cpu;  // the processor's name; empty if the kernel does not tell it
  double clock_offset_seconds = 0, clock_error_seconds = 0;
};

// How the measurement can be made again.
struct Origin {
  std::string command;  // as it was typed, quoted for a shell
  std::string version;  // what `shardswarm --version` says on the source's host
  std::string started;  // when, in UTC: 2026-11-30T20:13:21Z
  std::map<std::string, std::string> rivals;  // what each rival says of its version, by its name
};

struct ModelResult {
  std::string name;
  std::string id;  // of the manifest
  std::uint64_t bytes = 0;
  std::uint64_t files = 0, tensors = 0, pieces = 0;
};

struct ScenarioResult {
  std::string name;
  std::uint32_t hosts = 0;
  std::optional<std::uint32_t> stages, replicas;
  std::optional<double> rate_bits_per_second;  // of all links, where they are alike
  bool tls = false;
  std::string engine = "auto";
  bool cold = false;
  std::uint32_t repeats = 0;
};

// Of one tool with one setting, over its counted runs without an error.
struct Summary {
  std::string tool;
  Json settings = Json::object();
  std::uint32_t runs = 0;
  double median_makespan_seconds = 0;
  std::optional<double> median_ratio;
  double median_receiver_cpu_seconds = 0;  // of a fetcher; of several in a run, their mean
  std::optional<double> times_shardswarm;  // median over repeats of makespan / shardswarm's
};

struct Measurement {
  Origin origin;
  ScenarioResult scenario;
  ModelResult model;
  std::vector<HostResult> hosts;
  std::vector<RunResult> runs;
  std::vector<Summary> summary;
};

Json to_json(const Measurement& measurement);

}  // namespace shardswarm::bench
