// The models of one connection: which side opened them, and by which handles frames name them.
// Each side gives handles of its own; ours is the channel's own number.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "piece/digest.h"

namespace shardswarm {

// A model on one connection, the same number for both directions; given by our OPEN or the peer's,
// whichever comes first.
using Channel = StrongIndex<struct ChannelTag, std::uint16_t>;

class Channels {
 public:
  // --- ours ---
  // At most limits::kModelsPerConnectionMax models are opened, those given up included.
  bool may_open(const ModelId& id) const;
  struct Opened {
    Channel channel;
    bool news = false;  // OPEN is to be sent
  };
  // REQUIRES: may_open(id).
  Opened open(const ModelId& id);
  // We do not have the model (any more). Whether UNKNOWN_MODEL is to be sent: only an OPEN has this
  // answer, and a peer that did not say it would take it for an error. REQUIRES: the channel is one
  // of this connection.
  bool give_up(Channel channel);
  // Whether frames of ours may carry its handle: we opened it once.
  bool declared(Channel channel) const;
  static std::uint16_t handle_of(Channel channel) { return channel.value; }

  // --- the peer's ---
  // OPEN. kProtocol: the handle or the model was opened otherwise, or too many were.
  Result<Channel> peer_opens(std::uint16_t handle, const ModelId& id);
  // UNKNOWN_MODEL. kProtocol: we did not open it.
  Result<Channel> peer_gives_up(const ModelId& id);
  std::optional<Channel> of_peer_handle(std::uint16_t handle) const;
  // Whether the peer has the model: only then may frames about it be sent to it.
  bool peer_opened(Channel channel) const;

  std::optional<ModelId> model_of(Channel channel) const;

 private:
  struct Model {
    ModelId id;
    bool declared = false;   // our handle was given by OPEN
    bool announced = false;  // and no UNKNOWN_MODEL took it back since
    bool peer_open = false;  // the same of the peer
    bool peer_declared = false;
  };

  Channel channel_of(const ModelId& id);  // made if there is none
  Model& at(Channel channel) { return models_[channel.value - 1U]; }
  const Model* find(Channel channel) const;

  std::vector<Model> models_;  // by channel, from 1
  std::map<ModelId, Channel> by_id_;
  std::map<std::uint16_t, Channel> by_peer_handle_;
  std::uint32_t declared_ = 0;  // models with a handle of ours
};

}  // namespace shardswarm
