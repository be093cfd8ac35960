#include "swarm/core.h"

#include <algorithm>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {

Core::Core(CoreOptions options, BufferPool& buffers)
    : options_(std::move(options)), buffers_(buffers), random_(options_.seed) {
  set_limits();
}

Core::~Core() = default;

Core::Link* Core::find_link(ConnectionId connection) {
  if (last_found_ != nullptr && last_found_->id == connection) return last_found_;
  const auto it = links_.find(connection);
  if (it == links_.end()) return nullptr;
  return last_found_ = &it->second;
}

const Core::Link* Core::find_link(ConnectionId connection) const {
  if (last_found_ != nullptr && last_found_->id == connection) return last_found_;
  const auto it = links_.find(connection);
  return it == links_.end() ? nullptr : &it->second;
}

Core::Model* Core::find_model(ModelKey key) {
  const auto it = models_.find(key);
  return it == models_.end() ? nullptr : it->second.get();
}

const Core::Model* Core::find_model(ModelKey key) const {
  const auto it = models_.find(key);
  return it == models_.end() ? nullptr : it->second.get();
}

Core::Model* Core::find_model(const ModelId& id) {
  const auto it = model_by_id_.find(id);
  return it == model_by_id_.end() ? nullptr : find_model(it->second);
}

void Core::log(bool warning, std::string text) {
  actions_.push_back(action::Log{.warning = warning, .text = std::move(text)});
}

// --- connections ---

void Core::add_connection(ConnectionId connection, std::string address, bool dialed,
                          std::optional<NodeId> authenticated, Time now) {
  Link& link = links_.try_emplace(connection, connection, Session(options_.hello, authenticated))
                   .first->second;
  link.dialed = dialed;
  if (dialed) link.dialed_addresses.push_back(address);
  link.address = std::move(address);
  link.authenticated = authenticated;
  link.since = link.last_received = link.last_sent = now;
  limit(link);
  output_ready_.insert(connection);
  if (authenticated && banned_.contains(*authenticated)) {
    close_link(link, CloseReason::kBadData, "this node sent bad data before");
  } else if (links_.size() > limits::kConnectionsMax) {
    close_link(link, CloseReason::kOverload, "too many connections");
  }
}

void Core::dial_failed(const std::string& address, Error error, Time now) {
  log(false, error.message);
  addresses_.failed(address, std::move(error), now);
}

std::optional<Error> Core::remove_connection(ConnectionId connection, std::optional<Error> error,
                                             Time now) {
  const auto it = links_.find(connection);
  if (it == links_.end()) return std::nullopt;
  const auto entry = links_.extract(it);
  Link* const link = &entry->second;
  last_found_ = nullptr;
  link->close_asked = true;
  count_neighbour(*link);
  output_ready_.erase(connection);
  touched_.erase(connection);
  if (link->alive_due) alive_dues_.erase({*link->alive_due, connection});
  end_receive(*link, true);
  if (link->upload_busy) --busy_uploads_;
  if (!link->error && error) link->error = std::move(error);
  const std::string why = link->error                 ? link->error->message
                          : !link->closed_why.empty() ? "closed here: " + link->closed_why
                                                      : "it closed the connection";
  for (auto& [key, at] : link->models) {
    Model* model = find_model(key);
    if (model == nullptr) continue;
    part(*link, *model, at, why, now);
  }
  for (const std::string& address : link->dialed_addresses) {
    if (link->hello) {
      addresses_.disconnected(address, now);
    } else {
      const Errc code = link->error ? link->error->code : Errc::kUnreachable;
      std::string failure = address;
      failure.append(": ").append(why);
      addresses_.failed(address, {code, std::move(failure)}, now);
    }
  }
  if (link->hello) {
    const auto by_node = link_by_node_.find(link->hello->node_id);
    if (by_node != link_by_node_.end() && by_node->second == connection) {
      link_by_node_.erase(by_node);
    }
  }
  if (link->hello || link->error) log(false, "connection to " + link->address + " ended: " + why);
  return link->hello ? std::nullopt : link->error;
}

std::array<std::span<std::byte>, 2> Core::receive_spans(ConnectionId connection) {
  Link* link = find_link(connection);
  if (link == nullptr) return {};
  return limited(*link, link->session.receive_spans());
}

void Core::received(ConnectionId connection, std::size_t bytes, Time now) {
  Link* link = find_link(connection);
  if (link == nullptr || link->session.closing()) return;
  link->last_received = now;
  charge_received(*link, bytes, now);
  control_bytes_ += bytes;  // PieceBytes takes the payload off again
  link->session.received(bytes);
  drain(*link, now);
  if (link->session.queued_bytes() > 0) output_ready_.insert(connection);
}

Output Core::next_output(ConnectionId connection) {
  Link* link = find_link(connection);
  if (link == nullptr) return {};
  return link->session.next_output();
}

void Core::sent(ConnectionId connection, std::size_t bytes, Time now) {
  Link* link = find_link(connection);
  if (link == nullptr) return;
  const Output output = link->session.next_output();
  if (std::holds_alternative<OutputBytes>(output)) control_bytes_ += bytes;
  charge_sent(*link, bytes, now);
  link->session.sent(bytes);
  if (const auto* extent = std::get_if<OutputExtent>(&output)) {
    extent_sent(*link, *extent, bytes, now);
  }
  link->last_sent = now;
  if (!link->session.has_output()) link->idle = true;
  drain(*link, now);
}

bool Core::closing(ConnectionId connection) const {
  const Link* link = find_link(connection);
  return link == nullptr || link->session.closing();
}

ModelKey Core::model_of(ConnectionId connection, Channel channel) const {
  const Link* link = find_link(connection);
  if (link == nullptr) return {};
  const auto found = link->by_channel.find(channel);
  return found == link->by_channel.end() ? ModelKey{} : found->second;
}

void Core::close_link(Link& link, CloseReason reason, std::string_view text) {
  if (link.close_asked) return;
  link.close_asked = true;
  link.closed_why = text;
  count_neighbour(link);
  link.session.close(reason, text);
  output_ready_.insert(link.id);
  actions_.push_back(action::CloseConnection{link.id});
}

void Core::protocol_error(Link& link, std::string_view text) {
  link.error = Error{Errc::kProtocol, std::string(text)};
  log(true, "peer " + link.address + " broke the protocol: " + std::string(text));
  close_link(link, CloseReason::kProtocolError, text);
}

void Core::ban(Link& link, std::string_view why) {
  link.error = Error{Errc::kCorrupt, std::string(why)};
  log(true, "peer " + link.address + " is banned: " + std::string(why));
  if (link.hello) banned_.insert(link.hello->node_id);
  for (const std::string& address : link.dialed_addresses) addresses_.never(address);
  close_link(link, CloseReason::kBadData, why);
}

void Core::close_all(CloseReason reason) {
  for (auto& [id, link] : links_) close_link(link, reason, close_reason_name(reason));
}

// --- time ---

void Core::keep_alive(Link& link, Time now) {
  if (link.close_asked) return;
  if (!link.hello) {
    if (now - link.since >= kHelloTimeout) {
      link.error = Error{Errc::kUnreachable, "it did not say HELLO: not a shardswarm peer"};
      close_link(link, CloseReason::kTimeout, "no HELLO");
    }
    return;
  }
  const bool was_idle = std::exchange(link.idle, !link.session.has_output());
  if (was_idle || link.idle) {
    link.last_sent = now;
  } else if (now - link.last_sent >= kDeadAfter) {
    // Else it would keep the buffers of what it asked for.
    link.error = Error{Errc::kStalled, "it takes nothing that is sent to it"};
    close_link(link, CloseReason::kTimeout, "nothing was taken for 30 s");
    return;
  }
  if (link.turn_awaited) {
    forgive_waiting(link, now);
    return;
  }
  const auto& receiving = link.receiving;
  if (receiving && !receiving->waiting && !receiving->discard &&
      drips(receiving->got, now - receiving->since)) {
    link.error = Error{Errc::kStalled, "it sends a piece too slowly"};
    close_link(link, CloseReason::kTimeout, "a piece came too slowly");
    return;
  }
  // While we do not read, silence says nothing about the peer.
  if (link.receiving && link.receiving->waiting) {
    link.last_received = now;
    return;
  }
  if (now - link.last_received >= kDeadAfter) {
    link.error = Error{Errc::kStalled, "nothing heard from it for 30 s"};
    close_link(link, CloseReason::kTimeout, "nothing heard for 30 s");
  } else if (!link.ping_pending && now - link.ping_sent >= kPingEvery) {
    link.session.ping(++link.ping_token);
    link.ping_sent = now;
    link.ping_pending = true;
    output_ready_.insert(link.id);
  }
}

// Until it is touched again, nothing is to be done for the link before that.
void Core::set_alive_due(Link& link) {
  std::optional<Time> due;
  if (link.close_asked || (link.receiving && link.receiving->waiting)) {
    due.reset();
  } else if (!link.hello) {
    due = link.since + kHelloTimeout;
  } else if (link.visiting) {
    due = link.ready_at + kVisitMax;
  } else {
    due = link.last_received + kDeadAfter;
    if (!link.ping_pending) due = std::min(*due, link.ping_sent + kPingEvery);
    if (link.turn_awaited) due = link.last_received + kForgiveEvery;
  }
  // A due time that moved away stands until it is reached: bytes come more often than that.
  if (due && link.alive_due && *link.alive_due <= *due) return;
  if (link.alive_due) alive_dues_.erase({*link.alive_due, link.id});
  if (due) alive_dues_.emplace(*due, link.id);
  link.alive_due = due;
}

void Core::watch_links(Time now) {
  FlatSet<ConnectionId> watched = std::exchange(touched_, {});
  watched.insert(output_ready_.begin(), output_ready_.end());
  watched.insert(waiting_.begin(), waiting_.end());
  while (!alive_dues_.empty() && alive_dues_.begin()->first <= now) {
    const ConnectionId id = alive_dues_.begin()->second;
    alive_dues_.erase(alive_dues_.begin());
    links_.at(id).alive_due.reset();
    watched.insert(id);
  }
  for (const ConnectionId id : watched) {
    Link* link = find_link(id);
    if (link == nullptr) continue;
    keep_alive(*link, now);
    end_visit(*link, now);
    set_alive_due(*link);
  }
}

void Core::settle(Time now) {
  accept_waiting(now);
  choose_again(now);
  dial_due(now);
  pump_uploads(now);
  for (auto& [key, model] : models_) {
    if (model->is_learning()) learn(*model, now);
    if (model->state == Model::State::kActive) {
      if (model->fetching) ask(*model, now);
      announce(*model, now);
      check_complete(*model);
    }
    tell_peers(*model, now);
    check_stalled(*model, now);
  }
  end_left_shared(now);
  give_turns(now);
  watch_links(now);
}

std::vector<Action> Core::take_actions() { return std::exchange(actions_, {}); }

FlatSet<ConnectionId> Core::take_output_ready() {
  touched_.insert(output_ready_.begin(), output_ready_.end());
  return std::exchange(output_ready_, {});
}

std::optional<Time> Core::next_deadline() const {
  std::optional<Time> next = next_turn();
  const auto at = [&next](std::optional<Time> due) {
    if (due && (!next || *due < *next)) next = due;
  };
  if (!alive_dues_.empty()) at(alive_dues_.begin()->first);
  if (!slot_checks_.empty()) at(slot_checks_.begin()->first);
  at(next_dial());
  for (const auto& [key, model] : models_) {
    if (model->to_peers_changed) at(model->tell_due);
    if (model->fetching) {
      at(rechoose_due_);
      if (model->state != Model::State::kOpening && !model->finishing) {
        at(model->stalled_at());
        at(nobody_due(*model));
      }
    }
    if (model->is_learning()) {
      at(model->learning->next_deadline());
      if (model->sharing) at(model->learning_until);
    }
    if (model->state == Model::State::kActive) {
      if (model->fetching && model->download) at(model->download->next_deadline());
      at(model->upload->next_deadline());
      if (!model->unannounced.empty()) at(model->unannounced_since + announce_delay(*model));
    }
  }
  return next;
}

}  // namespace shardswarm
