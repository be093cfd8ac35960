// What a node's core asks of whoever drives it. Carried out in order; "answer" is the function of
// Core to call when it is done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/buffer_pool.h"
#include "base/error.h"
#include "base/ids.h"
#include "piece/piece_set.h"
#include "scheduler/download.h"

namespace shardswarm {

using ConnectionId = PeerKey;
using ModelKey = StrongIndex<struct ModelKeyTag>;  // of a model on this node; never used again

namespace action {
// Answer: add_connection() or dial_failed().
struct Dial {
  std::string address;
};
// Send what is queued, then close the transport and call remove_connection().
struct CloseConnection {
  ConnectionId connection;
};
// The manifest is known as far as the fetch needs it. Open a store. Answer: store_opened() or
// fetch_failed(). For a learning fetch nothing further happens.
struct ManifestReady {
  ModelKey model;
};
// Verify and write. Answer: piece_stored().
struct StorePiece {
  ModelKey model;
  PieceIndex piece;
  PieceBuffer buffer;
  ConnectionId from;
};
// Make ready to be sent on this connection. Answer: piece_prepared().
struct PreparePiece {
  ConnectionId connection;
  ModelKey model;
  PieceIndex piece;
  std::uint32_t length = 0;
};
struct ReleasePiece {
  ConnectionId connection;
  ModelKey model;
  PieceIndex piece;
};
// Every wanted piece is stored: make it durable under its final names. Answer: store_finished().
struct FinishStore {
  ModelKey model;
};
struct FetchEnded {
  ModelKey model;
  std::optional<Error> error;
};
// Which of these pieces do other models of this machine have? Open them. Answer: shared_found().
struct FindShared {
  ModelKey model;
  PieceSet pieces;
};
struct ShareEnded {
  ModelKey model;
};
struct Log {
  bool warning = false;
  std::string text;
};
}  // namespace action

using Action =
    std::variant<action::Dial, action::CloseConnection, action::ManifestReady, action::StorePiece,
                 action::PreparePiece, action::ReleasePiece, action::FinishStore,
                 action::FetchEnded, action::FindShared, action::ShareEnded, action::Log>;

// The actions that wait to be carried out.
class Outbox {
 public:
  void push(Action action) { actions_.push_back(std::move(action)); }
  void log(std::string text) { push(action::Log{.warning = false, .text = std::move(text)}); }
  void warn(std::string text) { push(action::Log{.warning = true, .text = std::move(text)}); }
  std::vector<Action> take() { return std::exchange(actions_, {}); }

 private:
  std::vector<Action> actions_;
};

}  // namespace shardswarm
