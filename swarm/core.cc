#include "swarm/core.h"

#include <algorithm>
#include <utility>

namespace shardswarm {
namespace {

CoreOptions with_limits(CoreOptions options) {
  if (options.limits.download != 0) {
    // A second's worth; less than two pieces would keep nobody busy.
    options.download.outstanding_bytes_max =
        std::max(options.limits.download, 2 * limits::kPieceBytesMax);
  }
  return options;
}

}  // namespace

Core::Core(CoreOptions options, BufferPool& buffers)
    : parts_(with_limits(std::move(options)), buffers), events_(parts_) {}

void Core::set_listening(std::uint16_t port, std::vector<std::string> advertised) {
  Hello& hello = parts_.context.options.hello;
  hello.listen_port = port;
  hello.advertised = std::move(advertised);
}

// --- models ---

// One that is only shared makes room for who asks for it here.
Result<void> Core::make_room_for(const ModelId& id, Time now) {
  Model* model = parts_.context.models.find(id);
  if (model == nullptr) return {};
  if (model->sharing() == nullptr) {
    return fail(Errc::kBusy, "model " + to_hex(id) + " is being fetched or seeded by this node");
  }
  parts_.shared.end(*model, false, now);
  parts_.neighbourhood.reconsider();
  return {};
}

Result<ModelKey> Core::add_seed(std::shared_ptr<const Manifest> manifest, const PieceSet& have,
                                Time now) {
  const ModelId id = manifest->id();
  if (auto room = make_room_for(id, now); !room) return std::unexpected(room.error());
  Model& model = parts_.context.models.add(id, Seeding{});
  model.manifest = std::move(manifest);
  model.counters.learned = true;
  model.activate(parts_.context.options, have);
  parts_.meetings.meet_everybody(model, now);
  return model.key;
}

Result<ModelKey> Core::add_fetch(FetchRequest request, Time now) {
  if (auto room = make_room_for(request.id, now); !room) return std::unexpected(room.error());
  return parts_.fetches.add(std::move(request), now);
}

void Core::add_node(const std::vector<std::string>& addresses, Time now) {
  parts_.neighbourhood.add_node(addresses, now);
}

void Core::store_opened(ModelKey key, const PieceSet& have, const PieceSet& wanted,
                        const PieceSet& kept_back, Time now) {
  Model* model = parts_.context.models.find(key);
  if (model == nullptr || model->live_fetch() == nullptr) return;
  parts_.fetches.store_opened(*model, have, wanted, kept_back, now);
}

void Core::fetch_failed(ModelKey key, Error error) {
  Model* model = parts_.context.models.find(key);
  if (model == nullptr || model->live_fetch() == nullptr) return;
  parts_.fetches.fail(*model, std::move(error));
}

void Core::store_finished(ModelKey key, Time now) {
  Model* model = parts_.context.models.find(key);
  if (model == nullptr || model->live_fetch() == nullptr) return;
  parts_.fetches.finished(*model, now);
}

void Core::shared_found(ModelKey key, const PieceSet& have, Time now) {
  Model* model = parts_.context.models.find(key);
  if (model == nullptr || model->sharing() == nullptr) return;
  parts_.shared.found(*model, have, now);
}

void Core::remove_model(ModelKey key) {
  Model* model = parts_.context.models.find(key);
  if (model == nullptr) return;
  parts_.meetings.forget(*model);
  parts_.neighbourhood.reconsider();
}

std::shared_ptr<const Manifest> Core::manifest(ModelKey key) const {
  const Model* model = parts_.context.models.find(key);
  return model == nullptr ? nullptr : model->known_manifest();
}

const ResolvedSelection& Core::resolved(ModelKey key) const {
  return parts_.context.models.find(key)->fetching().learning->resolved();
}

ModelStatus Core::status(ModelKey key) const {
  const Context& context = parts_.context;
  const Model* model = context.models.find(key);
  if (model == nullptr) return {};
  ModelStatus status = model->counters;
  status.active = model->upload != nullptr;
  status.ended = model->live_fetch() == nullptr;
  // While nobody is introduced yet, a peer that opened the model has it.
  status.peers = static_cast<std::uint32_t>(
      model->upload
          ? std::ranges::count_if(model->tallies,
                                  [](const auto& entry) { return entry.second.connections > 0; })
          : std::ranges::count_if(context.links, [key](const auto& entry) {
              const auto at = entry.second.models.find(key);
              return at != entry.second.models.end() &&
                     entry.second.session.peer_opened(at->second.channel);
            }));
  if (const auto* fetch = std::get_if<Fetching>(&model->role)) {
    const Patience& patience = fetch->patience;
    status.last_progress = patience.last_progress();
    status.gives_up_at = patience.stalled_at();
    if (!status.ended && parts_.stalls.awaits_source(*model) &&
        patience.wait_until() > patience.started()) {
      status.waits_until = patience.wait_until();
      status.last_progress = patience.started();
      status.gives_up_at = std::max(status.gives_up_at, patience.wait_until());
    }
    // Looking at all pieces of all peers would cost too much here.
    if (model->learning() != nullptr) status.lacking = parts_.stalls.lacking(*model);
  }
  if (status.peers == 0) {
    if (const auto error = parts_.neighbourhood.addresses().all_given_failed()) {
      status.unreachable = error->message;
    }
  }
  return status;
}

const std::map<NodeId, PeerTally>& Core::tallies(ModelKey key) const {
  static const std::map<NodeId, PeerTally> kNone;
  const Model* model = parts_.context.models.find(key);
  return model == nullptr ? kNone : model->tallies;
}

bool Core::may_leave(ModelKey key) const {
  const Model* model = parts_.context.models.find(key);
  if (model == nullptr || !model->upload) return true;
  const bool sending = std::ranges::any_of(
      parts_.context.links, [key](const auto& entry) { return entry.second.uplink.sending(key); });
  return !sending && model->announcements.done() && model->upload->only_here() == 0;
}

// --- storage ---

void Core::piece_stored(ModelKey key, PieceIndex piece, ConnectionId from, std::uint32_t length,
                        const Result<void>& result, Time now) {
  if (Model* model = parts_.context.models.find(key)) {
    parts_.fetches.piece_stored(*model, piece, from, length, result, now);
  }
}

void Core::piece_prepared(ConnectionId connection, ModelKey model, PieceIndex piece, bool ok) {
  if (Link* link = parts_.context.links.find(connection)) {
    parts_.uplink.piece_prepared(*link, model, piece, ok);
  }
}

void Core::pieces_lost(ModelKey key, const PieceSet& have) {
  Model* model = parts_.context.models.find(key);
  if (model == nullptr || !model->upload) return;
  const std::vector<PieceRun> lost = (model->have - have).runs();
  if (lost.empty()) return;
  model->have &= have;
  model->upload->lost(lost);
  parts_.announcements.lost(*model, have, lost);
}

void Core::undurable(ModelKey key, std::uint64_t bytes, Time now) {
  if (Model* model = parts_.context.models.find(key)) {
    parts_.fetches.undurable(*model, bytes, now);
  }
}

// --- connections ---

void Core::add_connection(ConnectionId connection, std::string address, bool dialed,
                          std::optional<NodeId> authenticated, Time now) {
  Context& context = parts_.context;
  Link& link = context.links.add(connection, context.options.hello, authenticated);
  link.dialed = dialed;
  link.address = std::move(address);
  link.liveness.begins(now);
  parts_.gate.add(link);
  if (parts_.neighbourhood.added(link) && context.links.size() > limits::kConnectionsMax) {
    context.links.close(link, CloseReason::kOverload, "too many connections");
  }
}

void Core::dial_failed(const std::string& address, Error error, Time now) {
  parts_.neighbourhood.dial_failed(address, std::move(error), now);
}

std::optional<Error> Core::remove_connection(ConnectionId connection, std::optional<Error> error,
                                             Time now) {
  const auto entry = parts_.context.links.extract(connection);
  if (entry == nullptr) return std::nullopt;
  Link& link = entry->second;
  parts_.liveness.removed(link);
  parts_.downlink.removed(link);
  parts_.uplink.removed(link);
  if (!link.error && error) link.error = std::move(error);
  const std::string why = link.error                 ? link.error->message
                          : !link.closed_why.empty() ? "closed here: " + link.closed_why
                                                     : "it closed the connection";
  for (auto& [key, at] : link.models) {
    if (Model* model = parts_.context.models.find(key)) {
      Meetings::part(link, *model, at, why, now);
    }
  }
  parts_.neighbourhood.removed(link, why, now);
  if (link.hello || link.error) {
    parts_.context.out.log("connection to " + link.address + " ended: " + why);
  }
  return link.hello ? std::nullopt : link.error;
}

std::array<std::span<std::byte>, 2> Core::receive_spans(ConnectionId connection) {
  Link* link = parts_.context.links.find(connection);
  if (link == nullptr) return {};
  const bool awaited = link->gate.turn_awaited();
  const auto spans = parts_.gate.allowed(*link, link->session.receive_spans());
  if (!awaited && link->gate.turn_awaited()) parts_.liveness.schedule(*link);
  return spans;
}

void Core::received(ConnectionId connection, std::size_t bytes, Time now) {
  Context& context = parts_.context;
  Link* link = context.links.find(connection);
  if (link == nullptr || link->session.closing()) return;
  link->liveness.received(now);
  parts_.gate.received(*link, bytes, now);
  context.control_bytes += bytes;  // the payload of pieces is taken off again
  link->session.received(bytes);
  events_.drain(*link, now);
  if (link->session.queue().bytes() > 0) context.links.mark_ready(*link);
}

Output Core::next_output(ConnectionId connection) {
  Link* link = parts_.context.links.find(connection);
  return link == nullptr ? Output{} : link->session.next_output();
}

void Core::sent(ConnectionId connection, std::size_t bytes, Time now) {
  Link* link = parts_.context.links.find(connection);
  if (link == nullptr) return;
  const Output output = link->session.next_output();
  if (std::holds_alternative<OutputBytes>(output)) parts_.context.control_bytes += bytes;
  parts_.gate.sent(*link, bytes, now);
  link->session.sent(bytes);
  if (const auto* extent = std::get_if<OutputExtent>(&output)) {
    parts_.uplink.extent_sent(*link, *extent, bytes, now);
  }
  link->liveness.sent(link->session.queue().has_output(), now);
  events_.drain(*link, now);
}

bool Core::closing(ConnectionId connection) const {
  const Link* link = parts_.context.links.find(connection);
  return link == nullptr || link->session.closing();
}

std::uint64_t Core::unsent_max(ConnectionId connection) const {
  return Uplink::unsent_max(parts_.context.links.find(connection));
}

ModelKey Core::model_of(ConnectionId connection, Channel channel) const {
  const Link* link = parts_.context.links.find(connection);
  if (link == nullptr) return {};
  const auto found = link->by_channel.find(channel);
  return found == link->by_channel.end() ? ModelKey{} : found->second;
}

void Core::close_all(CloseReason reason) {
  Links& links = parts_.context.links;
  for (auto& [id, link] : links) links.close(link, reason, close_reason_name(reason));
}

// --- what they decide, and when ---

void Core::settle(Time now) {
  accept_waiting(now);
  parts_.neighbourhood.choose_again(now);
  parts_.neighbourhood.dial_due(now);
  parts_.uplink.pump(now);
  for (const auto& [key, model] : parts_.context.models) settle(*model, now);
  parts_.shared.end_left(now);
  parts_.gate.give_turns(now);
  watch_links(now);
}

void Core::settle(Model& model, Time now) {
  if (model.learning() != nullptr) parts_.blobs.ask(model, now);
  if (model.upload) {
    if (model.live_fetch() != nullptr) parts_.downlink.ask(model, now);
    parts_.announcements.announce(model, now);
    if (model.live_fetch() != nullptr) parts_.fetches.check_complete(model);
  }
  parts_.exchange.tell(model, now);
  if (model.live_fetch() == nullptr) return;
  if (auto error = parts_.stalls.check(model, parts_.gate.reads(now), now)) {
    parts_.fetches.fail(model, std::move(*error));
  }
}

void Core::accept_waiting(Time now) {
  const FlatSet<ConnectionId> waiting = parts_.downlink.waiting();
  for (const ConnectionId id : waiting) {
    Link* link = parts_.context.links.find(id);
    if (link == nullptr || !link->downlink.waiting()) continue;
    if (parts_.downlink.accept(*link, now)) events_.drain(*link, now);
  }
}

void Core::watch_links(Time now) {
  for (const ConnectionId id : parts_.liveness.take_due(parts_.downlink.waiting(), now)) {
    Link* link = parts_.context.links.find(id);
    if (link == nullptr) continue;
    parts_.liveness.check(*link, now);
    parts_.neighbourhood.end_visit(*link, now);
    parts_.liveness.schedule(*link);
  }
}

FlatSet<ConnectionId> Core::take_output_ready() {
  FlatSet<ConnectionId> ready = parts_.context.links.take_ready();
  parts_.liveness.touch(ready);
  return ready;
}

namespace {

// The earliest of several times, of which each may be missing.
class Earliest {
 public:
  void add(std::optional<Time> due) {
    if (due && (!time_ || *due < *time_)) time_ = due;
  }
  std::optional<Time> time() const { return time_; }

 private:
  std::optional<Time> time_;
};

}  // namespace

std::optional<Time> Core::next_deadline() const {
  Earliest next;
  next.add(parts_.gate.next_deadline());
  next.add(parts_.liveness.next_deadline());
  next.add(parts_.uplink.next_deadline());
  next.add(parts_.neighbourhood.next_dial());
  for (const auto& [key, model] : parts_.context.models) next.add(next_deadline(*model));
  return next.time();
}

std::optional<Time> Core::next_deadline(const Model& model) const {
  Earliest next;
  next.add(PeerExchange::next_deadline(model));
  const Fetching* fetch = model.live_fetch();
  if (fetch != nullptr) {
    next.add(parts_.neighbourhood.next_choice());
    next.add(StallWatch::next_deadline(model));
    if (fetch->download) next.add(fetch->download->next_deadline());
  }
  if (const ManifestFetch* learning = model.learning()) {
    next.add(learning->next_deadline());
    if (const Sharing* share = model.sharing()) next.add(share->learning_until);
  }
  if (model.upload) {
    next.add(model.upload->next_deadline());
    next.add(parts_.announcements.next_deadline(model));
  }
  return next.time();
}

}  // namespace shardswarm
