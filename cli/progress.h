// Progress for people: a bar redrawn in place on a terminal, a line every few seconds elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "node/shardswarm.h"

namespace shardswarm::cli {

// Thread-safe: progress comes on the network thread, the end on the main thread.
class ProgressView {
 public:
  explicit ProgressView(bool quiet);
  ~ProgressView();  // ends the line
  ProgressView(const ProgressView&) = delete;
  ProgressView& operator=(const ProgressView&) = delete;

  void show(const FetchProgress& progress);
  void show_indexing(std::uint64_t done, std::uint64_t total);
  void finish();

 private:
  void draw(double fraction, const std::string& text);

  std::mutex mutex_;
  bool quiet_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
  std::chrono::steady_clock::time_point started_;
};

std::string_view phase_name(FetchPhase phase);

}  // namespace shardswarm::cli
