// What the parts of a node's core have in common: its connections, its models, and what waits to be
// carried out.
#pragma once

#include <algorithm>
#include <random>
#include <span>
#include <utility>

#include "base/buffer_pool.h"
#include "swarm/actions.h"
#include "swarm/core_options.h"
#include "swarm/links.h"
#include "swarm/model.h"

namespace shardswarm {

struct Context {
  Context(CoreOptions o, BufferPool& b)
      : options(std::move(o)), buffers(b), links(out), random(options.seed) {}

  CoreOptions options;
  BufferPool& buffers;
  Outbox out;
  Links links;
  Models models;
  std::mt19937_64 random;
  std::uint64_t control_bytes = 0;  // sent and received, without the payload of pieces

  // Null if the channel has no model, or it was just given up.
  Model* model_of(const Link& link, Channel channel) {
    const auto at = link.by_channel.find(channel);
    return at == link.by_channel.end() ? nullptr : models.find(at->second);
  }

  // The connection to a peer that a scheduler of the model chose, and the model on it. Null if the
  // connection is gone or closing. A connection that does not have the model is closed here: the
  // scheduler's choice is a fault of this program.
  struct Chosen {
    Link* link = nullptr;
    LinkModel* at = nullptr;
  };
  Chosen chosen(PeerKey peer, const Model& model) {
    Link* link = links.find(peer);
    if (link == nullptr || link->closing) return {};
    const auto at = link->models.find(model.key);
    if (at != link->models.end()) return {link, &at->second};
    links.our_bug(*link, "a scheduler chose a peer that does not have the model");
    return {};
  }

  // tell(Link&, LinkModel&) for each connection on which the model is introduced: something is
  // queued for it.
  template <class Tell>
  void each_introduced(const Model& model, Tell tell) {
    for (auto& [id, link] : links) {
      const auto at = link.models.find(model.key);
      if (at == link.models.end() || !at->second.introduced || link.closing) continue;
      tell(link, at->second);
      links.mark_ready(link);
    }
  }
};

inline bool contains(std::span<const PieceRun> runs, PieceIndex piece) {
  return std::ranges::any_of(runs, [piece](const PieceRun& run) {
    return piece >= run.first && piece.value - run.first.value < run.count;
  });
}

}  // namespace shardswarm
