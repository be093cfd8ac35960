// One node of the swarm: a real core, and beside it a clock, a disk and connections that are not.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "simulator/connections.h"
#include "simulator/scenario.h"
#include "simulator/swarm.h"
#include "swarm/core.h"

namespace shardswarm::sim {

inline constexpr std::uint32_t kNoLayer = ~std::uint32_t{0};

// What all hosts of a run share. The tables are by piece; a piece of no layer has kNoLayer.
struct World {
  Agenda& agenda;
  Connections& connections;
  std::shared_ptr<const Manifest> manifest;
  std::span<const std::uint32_t> piece_bytes;
  std::span<const std::uint32_t> piece_layer;
  const std::map<std::string, std::uint32_t>& host_by_address;
  FetchOrder order;
  std::span<const Duration> latencies;  // by host
};

// Numeric, as peers hand on no others. REQUIRES: index < 2^24.
std::string address_of(std::uint32_t index);

class Host {
 public:
  // `spec` and `world` must outlive it; `options` are complete.
  Host(const NodeSpec& spec, std::uint32_t index, CoreOptions options, World& world);

  // `wanted`: of a fetcher; `known`: may be null.
  void join(const PieceSet& wanted, std::shared_ptr<const Manifest> known,
            std::span<const std::string> addresses);
  void leave();
  bool present() const { return present_; }
  const NodeSpec& spec() const { return spec_; }
  Connections::Party party();

  void settle();
  void timer(Time at);
  void stored();
  void prepared();
  void opened();
  void shared(ModelKey model);
  void finished();
  void dialed(Host& target);

  bool ended() const { return outcome_.finished || !outcome_.error.empty(); }
  NodeOutcome outcome() const;

 private:
  struct Storing {
    ModelKey model;
    PieceIndex piece;
    ConnectionId from;
    PieceBuffer buffer;
  };
  struct Preparing {
    ConnectionId connection;
    ModelKey model;
    PieceIndex piece;
  };

  void set_timer();
  void later(Duration delay, What what, std::uint32_t value = 0);
  void act(action::Dial&& a);
  void act(action::CloseConnection&& a);
  void act(action::ManifestReady&& a);
  void act(action::StorePiece&& a);
  void act(action::PreparePiece&& a);
  void act(action::FinishStore&& a);
  void act(action::FetchEnded&& a);
  void act(action::FindShared&& a);
  void act(action::ReleasePiece&&) {}
  void act(action::ShareEnded&&) {}
  void act(action::Log&&) {}

  const NodeSpec& spec_;
  std::uint32_t index_;
  World& world_;
  BufferPool buffers_;
  Core core_;
  ModelKey key_;
  bool present_ = false;
  std::optional<Time> timer_;
  std::deque<Storing> storing_;
  Time hash_free_{};
  Time disk_free_{};
  std::deque<Preparing> preparing_;
  std::vector<std::uint32_t> missing_of_layer_;
  NodeOutcome outcome_;
};

}  // namespace shardswarm::sim
