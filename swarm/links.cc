#include "swarm/links.h"

#include <string>
#include <utility>

namespace shardswarm {

Link& Links::add(ConnectionId connection, const Hello& self, std::optional<NodeId> authenticated) {
  Link& link = table_.try_emplace(connection, connection, self, authenticated).first->second;
  mark_ready(link);
  return link;
}

std::unique_ptr<Links::Table::Entry> Links::extract(ConnectionId connection) {
  const auto it = table_.find(connection);
  if (it == table_.end()) return nullptr;
  auto entry = table_.extract(it);
  last_found_ = nullptr;
  entry->second.closing = true;
  count_neighbour(entry->second);
  ready_.erase(connection);
  return entry;
}

Link* Links::find(ConnectionId connection) {
  if (last_found_ != nullptr && last_found_->id == connection) return last_found_;
  const auto it = table_.find(connection);
  if (it == table_.end()) return nullptr;
  return last_found_ = &it->second;
}

const Link* Links::find(ConnectionId connection) const {
  if (last_found_ != nullptr && last_found_->id == connection) return last_found_;
  const auto it = table_.find(connection);
  return it == table_.end() ? nullptr : &it->second;
}

void Links::close(Link& link, CloseReason reason, std::string_view text) {
  if (link.closing) return;
  link.closing = true;
  link.closed_why = text;
  count_neighbour(link);
  link.session.close(reason, text);
  mark_ready(link);
  out_.push(action::CloseConnection{link.id});
}

void Links::protocol_error(Link& link, std::string_view text) {
  link.error = Error{Errc::kProtocol, std::string(text)};
  out_.warn("peer " + link.address + " broke the protocol: " + std::string(text));
  close(link, CloseReason::kProtocolError, text);
}

void Links::our_bug(Link& link, std::string_view text) {
  link.error = Error{Errc::kInternal, "our bug: " + std::string(text)};
  out_.warn("connection to " + link.address + ": " + link.error->message);
  close(link, CloseReason::kInternal, text);
}

void Links::count_neighbour(Link& link) {
  const bool is = is_neighbour(link);
  if (std::exchange(link.neighbour.counted_, is) == is) return;
  neighbours_changed_ = true;
  const std::uint32_t one = is ? 1U : ~0U;  // modulo 2^32: minus one
  neighbours_ += one;
  if (link.neighbour.near_) near_neighbours_ += one;
}

}  // namespace shardswarm
