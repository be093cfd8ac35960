#include "simulator/connections.h"

#include <algorithm>

namespace shardswarm::sim {
namespace {

// As the product's: what is not flushed by then is lost.
constexpr auto kFlushTimeout = std::chrono::seconds(2);
constexpr std::uint32_t kWakeBytesMax = 64U << 10;

}  // namespace

Connections::Connections(Network& network, Agenda& agenda, std::uint32_t window_bytes,
                         std::span<const std::uint32_t> piece_bytes)
    : network_(network),
      agenda_(agenda),
      wake_bytes_(std::min(window_bytes / 8, kWakeBytesMax)),
      piece_bytes_(piece_bytes) {}

void Connections::add_end(const Party& party, FlowIndex out, Duration latency) {
  if (end_of_flow_.size() <= out.value) end_of_flow_.resize(out.value + 1);
  end_of_flow_[out.value] = static_cast<std::uint32_t>(ends_.size());
  End& end = ends_.emplace_back();
  end.core = party.core;
  end.host = party.host;
  end.out = out;
  end.latency = latency;
}

void Connections::open(const Party& dialer, const Party& listener) {
  const auto first = static_cast<std::uint32_t>(ends_.size());
  const Duration latency = dialer.latency + listener.latency;
  add_end(dialer, network_.open(HostIndex(dialer.host), HostIndex(listener.host)), latency);
  add_end(listener, network_.open(HostIndex(listener.host), HostIndex(dialer.host)), latency);
  dialer.core->add_connection(id_of(first), listener.address, true, std::nullopt, agenda_.now);
  listener.core->add_connection(id_of(first + 1), dialer.address, false, std::nullopt, agenda_.now);
  agenda_.wake(dialer.host);
  agenda_.wake(listener.host);
}

// Takes up to `room` bytes from the core; how many.
std::uint32_t Connections::take(End& end, ConnectionId id, std::uint32_t room) {
  std::uint32_t taken = 0;
  while (taken < room) {
    const Output output = end.core->next_output(id);
    std::uint32_t n = room - taken;
    if (const auto* control = std::get_if<OutputBytes>(&output)) {
      n = static_cast<std::uint32_t>(std::min<std::size_t>(n, control->bytes.size()));
      end.sent.push(control->bytes.first(n));
      traffic_.control_bytes += n;
    } else if (const auto* payload = std::get_if<OutputExtent>(&output)) {
      n = std::min(n, payload->length);
      const bool ends = payload->offset + n == piece_bytes_[payload->piece.value];
      end.sent.push_payload(n, ends);
    } else {
      break;
    }
    end.core->sent(id, n, agenda_.now);
    taken += n;
  }
  return taken;
}

void Connections::write(ConnectionId id) {
  End& end = ends_[end_of(id)];
  if (end.finished || end.full) return;
  const std::uint32_t room = network_.room(end.out);
  const std::uint32_t taken = take(end, id, room);
  network_.send(end.out, taken, agenda_.now);
  end.full = taken == room;
  if (end.closing && !end.full) finish(end_of(id));
}

void Connections::read(ConnectionId id) {
  const std::uint32_t index = end_of(id);
  const End& end = ends_[index];
  End& other = ends_[index ^ 1U];
  bool moved = false;
  while (!end.finished && !end.closing) {
    const std::size_t readable = network_.readable(other.out);
    if (readable == 0) break;
    const auto spans = end.core->receive_spans(id);
    const auto n =
        static_cast<std::uint32_t>(std::min(readable, spans[0].size() + spans[1].size()));
    if (n == 0) break;
    traffic_.control_messages += other.sent.pop(spans, n);
    network_.read(other.out, n, agenda_.now);
    end.core->received(id, n, agenda_.now);
    moved = true;
  }
  if (moved) agenda_.wake(end.host);
  if (!end.finished && other.finished && other.sent.empty()) finish(index);
}

void Connections::close(ConnectionId id) {
  ends_[end_of(id)].closing = true;
  write(id);
}

void Connections::changed(const Network::Change& change) {
  const std::uint32_t index = end_of_flow_[change.flow.value];
  End& sender = ends_[index];
  const End& receiver = ends_[index ^ 1U];
  if (change.arrived) {
    if (receiver.finished) return;
    if (!sender.sent.worth_reading(network_.readable(sender.out), wake_bytes_)) return;
    read(id_of(index ^ 1U));
  } else if (sender.full && !sender.finished && network_.room(sender.out) >= wake_bytes_) {
    sender.full = false;
    write(id_of(index));
    agenda_.wake(sender.host);
  }
}

void Connections::finish(std::uint32_t index) {
  End& end = ends_[index];
  end.finished = true;
  end.core->remove_connection(id_of(index), std::nullopt, agenda_.now);
  agenda_.wake(end.host);
  const std::uint32_t other = index ^ 1U;
  if (ends_[other].finished) {
    cut(index);
    cut(other);
  } else {
    const Duration delay = end.sent.empty() ? end.latency : Duration(kFlushTimeout);
    agenda_.after(delay, {What::kEnd, ends_[other].host, other});
  }
}

void Connections::cut(std::uint32_t index) {
  End& end = ends_[index];
  if (end.cut) return;
  end.cut = true;
  end.sent = Stream();
  network_.close(end.out);
}

void Connections::hear_end(std::uint32_t end) {
  if (!ends_[end].finished) finish(end);
}

void Connections::drop_all_of(std::uint32_t host) {
  for (std::uint32_t index = 0; index < ends_.size(); ++index) {
    End& end = ends_[index];
    if (end.host != host || end.finished) continue;
    end.finished = true;
    end.sent.clear();
    const std::uint32_t other = index ^ 1U;
    if (ends_[other].finished) {
      cut(index);
      cut(other);
    } else {
      agenda_.after(end.latency, {What::kEnd, ends_[other].host, other});
    }
  }
}

}  // namespace shardswarm::sim
