// The parts of a core in the middle of a fetch on one connection, without a whole core.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "swarm/peer_events.h"
#include "tests/swarm/greeted_link.h"
#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {

inline constexpr Time kRigTime = std::chrono::seconds(1000);

// A fetch of one model, and a peer that has all of it and was asked for it.
class FetchOnALink : public testing::Test {
 protected:
  FetchOnALink() {
    const auto key = parts_.fetches.add({.id = content_.manifest->id(),
                                         .selection = {.layers = {{0, 1}}},
                                         .stall_timeout = std::chrono::seconds(60),
                                         .kept = content_.manifest},
                                        kRigTime);
    model_ = parts_.context.models.find(*key);
    const PieceSet none(content_.manifest->piece_count());
    parts_.fetches.store_opened(*model_, none, none, none, kRigTime);
    channel_ = peer_.far.open(model_->id);
    exchange();
    const PieceRun all{PieceIndex(0), content_.manifest->piece_count()};
    peer_.far.have(channel_, {&all, 1});
    exchange();
    parts_.downlink.ask(*model_, kRigTime);
    exchange();
    (void)parts_.context.out.take();
  }
  void exchange() {
    for (int i = 0; i < 3; ++i) {
      peer_.exchange();
      events_.drain(peer_.link, kRigTime);
      while (auto event = peer_.far.next_event()) heard_.push_back(std::move(*event));
    }
  }
  void send(PieceIndex piece) {
    peer_.far.send_piece(channel_, piece, content_.manifest->extent(piece).length);
    exchange();
  }
  // So far that it is being received.
  void begin_to_send(PieceIndex piece) {
    peer_.far.send_piece(channel_, piece, content_.manifest->extent(piece).length);
    peer_.exchange();
    events_.drain(peer_.link, kRigTime);
  }
  template <class E>
  std::size_t heard() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        heard_, [](const SessionEvent& event) { return std::holds_alternative<E>(event); }));
  }
  std::size_t stored() {
    const auto actions = parts_.context.out.take();
    return static_cast<std::size_t>(std::ranges::count_if(actions, [](const Action& action) {
      return std::holds_alternative<action::StorePiece>(action);
    }));
  }

  const MemoryModel content_ = make_memory_model(4, 2, 1000, 1);
  BufferPool buffers_{1, 1};
  Parts parts_{CoreOptions{.hello = hello_of("here")}, buffers_};
  PeerEvents events_{parts_};
  GreetedLink peer_{parts_, ConnectionId(1), "there", kRigTime};
  Model* model_ = nullptr;
  Channel channel_;
  std::vector<SessionEvent> heard_;
};

}  // namespace shardswarm::test
