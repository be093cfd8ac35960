// The harness's hand on a host: started by the controller, it speaks JSON lines over stdin and
// stdout, and ends, with all that it started and made, when stdin does. No port, no daemon, no
// state.
//
// A request is {"id":N,"verb":V,...}; its answer {"id":N,"ok":{...}} or {"id":N,"error":"text"}.
// Times ("t") are seconds of this host's monotonic clock.
//
// clang-format off
//   hello    {"directory"}             machine, versions; makes a fresh directory of ours there
//   clock                              {"t"}
//   start    {"argv","env","directory"}  {"process","t"}; then its events (below)
//   signal   {"process","signal"}      to its process group
//   stats    {"process"}               {"cpu_seconds","peak_private_bytes","peak_resident_bytes",
//                                      "disk_written_bytes"}
//   watch    {"address"}               begins to sample every 25 ms the counters of the interface
//                                      that has the address; on loopback of the processes' sockets
//   counters                           {"received","sent"} since `watch`
//   unwatch                            {"samples":[[t,received,sent],...]} since `watch`
//   put      {"path","base64"}         writes a file, with its directories; for this user alone
//   get      {"path"}                  {"base64"}
//   remove   {"path"}                  a directory or file below our directory
//
//   {"event":"line","process":P,"t":T,"line":"..."}
//   {"event":"end","process":P,"t":T,"code":C,"signal":S,"cpu_seconds":X,"stderr":"..."}
// clang-format on
#pragma once

namespace shardswarm::bench {

// The agent's main: serves stdin until it ends. Returns the exit code.
int run_agent();

// `shardswarm-bench digest DIR`: a JSON line {"path","size","sha256"} for each file below DIR,
// hidden ones left out, then {"event":"done"}. A process of its own, so that the agent stays awake.
int run_digest(const char* directory);

// `shardswarm-bench evict DIR`: takes these files out of the page cache. Exit code 1 where there is
// no such thing (tmpfs).
int run_evict(const char* directory);

}  // namespace shardswarm::bench
