// What one connection moves at a time: between a begin and its end, any thread may move it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "node/prepared_pieces.h"
#include "transport/transport.h"
#include "wire/session.h"

namespace shardswarm {

class Transfer {
 public:
  void begin_pass() {
    received_in_pass_ = 0;
    dry_ = false;
  }
  void receive_into(std::array<std::span<std::byte>, 2> spans) { into_ = spans; }
  bool blocked() const { return into_[0].empty() && into_[1].empty(); }
  void send(const OutputExtent& extent) { extent_ = extent; }

  // Any thread. `source`: of what is sent.
  void move(Transport& transport, const PreparedPieces& source);
  // As much as last time, unless it was stopped by what it was asked for, which says "at least".
  std::size_t expected() const {
    return dry_ ? 0 : std::min(asked(), extent_ ? last_sent_ : last_received_);
  }

  // The end: what was moved.
  const Result<Moved>& received();
  std::pair<OutputExtent, const Result<Moved>&> sent();
  std::size_t received_in_pass() const { return received_in_pass_; }

 private:
  std::size_t asked() const {
    return extent_ ? extent_->length : into_[0].size() + into_[1].size();
  }
  void note_moved();

  std::array<std::span<std::byte>, 2> into_;
  std::optional<OutputExtent> extent_;  // without one it receives
  Result<Moved> moved_;
  std::size_t last_received_ = 0;  // by one move() that moved anything
  std::size_t last_sent_ = 0;
  bool dry_ = false;  // in this pass it moved less than it was asked to
  std::size_t received_in_pass_ = 0;
};

}  // namespace shardswarm
