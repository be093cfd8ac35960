#include "simulator/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"

namespace shardswarm::sim {
namespace {

// A piece to be sent is in the page cache.
constexpr Duration kPrepareTime = std::chrono::microseconds(50);
constexpr Duration kOpenTime = std::chrono::microseconds(200);
constexpr Duration kFinishTime = std::chrono::milliseconds(1);
// As the product's timers: never sooner, whatever is due.
constexpr Duration kTimerMin = std::chrono::milliseconds(1);
constexpr Duration kStallTimeout = std::chrono::hours(1);

Duration time_of(std::uint64_t bytes, double rate) {
  return Duration(std::llround(static_cast<double>(bytes) / rate * 1e9));
}

}  // namespace

std::string address_of(std::uint32_t index) {
  return fmt::format("10.{}.{}.{}:7000", index >> 16U, index >> 8U & 0xffU, index & 0xffU);
}

Host::Host(const NodeSpec& spec, std::uint32_t index, CoreOptions options, World& world)
    : spec_(spec),
      index_(index),
      world_(world),
      buffers_(limits::kBuffersLarge, limits::kBuffersSmall),
      core_(std::move(options), buffers_) {
  outcome_.name = spec.name;
}

void Host::join(const PieceSet& wanted, std::shared_ptr<const Manifest> known,
                std::span<const std::string> addresses) {
  present_ = true;
  const Time now = world_.agenda.now;
  if (spec_.seed) {
    key_ = core_.add_seed(world_.manifest, PieceSet::full(world_.manifest->piece_count()), now)
               .value();
  } else {
    wanted.for_each([&](PieceIndex piece) {
      outcome_.wanted_bytes += world_.piece_bytes[piece.value];
      const std::uint32_t layer = world_.piece_layer[piece.value];
      if (layer == kNoLayer) return;
      if (missing_of_layer_.size() <= layer) missing_of_layer_.resize(layer + 1);
      ++missing_of_layer_[layer];
    });
    key_ = core_
               .add_fetch({.id = world_.manifest->id(),
                           .selection = spec_.selection,
                           .stall_timeout = kStallTimeout,
                           .kept = std::move(known),
                           .order = world_.order},
                          now)
               .value();
  }
  for (const std::string& address : addresses) core_.add_node({address}, now);
  world_.agenda.wake(index_);
}

void Host::leave() {
  present_ = false;
  world_.connections.drop_all_of(index_);
}

Connections::Party Host::party() {
  return {.host = index_, .core = &core_, .address = address_of(index_), .latency = spec_.latency};
}

void Host::later(Duration delay, What what, std::uint32_t value) {
  world_.agenda.after(delay, {what, index_, value});
}

void Host::settle() {
  core_.settle(world_.agenda.now);
  while (true) {
    auto actions = core_.take_actions();
    for (Action& action : actions) {
      std::visit([this](auto&& a) { act(std::forward<decltype(a)>(a)); }, std::move(action));
    }
    const auto ready = core_.take_output_ready();
    for (const ConnectionId id : ready) {
      world_.connections.read(id);
      world_.connections.write(id);
    }
    if (actions.empty() && ready.empty()) break;
  }
  set_timer();
}

void Host::set_timer() {
  const auto due = core_.next_deadline();
  if (!due) return;
  const Time at = std::max(*due, world_.agenda.now + kTimerMin);
  if (timer_ && *timer_ <= at) return;
  timer_ = at;
  world_.agenda.at(at, {What::kTimer, index_});
}

void Host::timer(Time at) {
  if (timer_ != at) return;  // an earlier one was set since
  timer_.reset();
  const auto due = core_.next_deadline();
  if (due && *due <= at) {
    settle();
  } else {
    set_timer();
  }
}

// --- storage ---

void Host::act(action::ManifestReady&&) { later(kOpenTime, What::kOpened); }

void Host::opened() {
  const PieceSet none(world_.manifest->piece_count());
  core_.store_opened(key_, none, none, none, world_.agenda.now);
}

void Host::act(action::FindShared&& a) { later(kOpenTime, What::kShared, a.model.value); }

void Host::shared(ModelKey model) {
  core_.shared_found(model, PieceSet(world_.manifest->piece_count()), world_.agenda.now);
}

void Host::act(action::StorePiece&& a) {
  const std::size_t bytes = a.buffer.bytes().size();
  hash_free_ = std::max(hash_free_, world_.agenda.now) + time_of(bytes, spec_.hash);
  disk_free_ = std::max(hash_free_, disk_free_) + time_of(bytes, spec_.disk);
  storing_.push_back({a.model, a.piece, a.from, std::move(a.buffer)});
  world_.agenda.at(disk_free_, {What::kStored, index_});
}

void Host::stored() {
  const Time now = world_.agenda.now;
  Storing piece = std::move(storing_.front());
  storing_.pop_front();
  const auto bytes = static_cast<std::uint32_t>(piece.buffer.bytes().size());
  piece.buffer.reset();
  const std::uint32_t layer = world_.piece_layer[piece.piece.value];
  if (layer != kNoLayer && --missing_of_layer_[layer] == 0 && !outcome_.first_layer) {
    outcome_.first_layer = now;
  }
  core_.piece_stored(piece.model, piece.piece, piece.from, bytes, {}, now);
}

void Host::act(action::PreparePiece&& a) {
  if (spec_.behaviour == Behaviour::kHoards) return;
  preparing_.push_back({a.connection, a.model, a.piece});
  later(kPrepareTime, What::kPrepared);
}

void Host::prepared() {
  const Preparing piece = preparing_.front();
  preparing_.pop_front();
  core_.piece_prepared(piece.connection, piece.model, piece.piece, true);
}

void Host::act(action::FinishStore&&) {
  const Duration disk = std::max(disk_free_ - world_.agenda.now, Duration(0));
  later(disk + kFinishTime, What::kFinished);
}

void Host::finished() {
  outcome_.finished = world_.agenda.now;
  core_.store_finished(key_, world_.agenda.now);
}

void Host::act(action::FetchEnded&& a) {
  if (a.error) outcome_.error = a.error->message;
}

// --- connections ---

void Host::act(action::Dial&& a) {
  const auto target = world_.host_by_address.find(a.address);
  if (target == world_.host_by_address.end()) {
    core_.dial_failed(a.address, {Errc::kUnreachable, "no such node"}, world_.agenda.now);
    world_.agenda.wake(index_);
    return;
  }
  const Duration one_way = spec_.latency + world_.latencies[target->second];
  later(2 * one_way, What::kDialed, target->second);
}

void Host::dialed(Host& target) {
  if (target.present_) {
    world_.connections.open(party(), target.party());
  } else {
    core_.dial_failed(address_of(target.index_), {Errc::kUnreachable, "connection refused"},
                      world_.agenda.now);
  }
}

void Host::act(action::CloseConnection&& a) { world_.connections.close(a.connection); }

NodeOutcome Host::outcome() const {
  NodeOutcome outcome = outcome_;
  const ModelStatus status = core_.status(key_);
  outcome.fetched_bytes = status.fetched_bytes;
  outcome.duplicate_bytes = status.duplicate_bytes;
  outcome.sent_bytes = status.sent_bytes;
  return outcome;
}

}  // namespace shardswarm::sim
