// Neighbours: whom to dial, whom to take, whom to leave, and what others are told of them. The
// rules stand in swarm/neighbours.h.
#include <algorithm>
#include <iterator>
#include <utility>

#include "swarm/core_state.h"

namespace shardswarm {

bool Core::is_neighbour(const Link& link) const {
  return link.hello && !link.close_asked && !link.visiting;
}

// After each change of what makes a neighbour.
void Core::count_neighbour(Link& link) {
  const bool is = is_neighbour(link);
  if (std::exchange(link.counted, is) == is) return;
  neighbours_changed_ = true;
  const std::uint32_t one = is ? 1U : ~0U;  // modulo 2^32: minus one
  neighbours_ += one;
  if (link.near) near_neighbours_ += one;
}

// --- dialing ---

// Of the neighbours, each fetch seeks an equal part that has its model.
std::size_t Core::share_of_fetch() const {
  const auto fetches =
      std::ranges::count_if(models_, [](const auto& entry) { return entry.second->fetching; });
  if (fetches == 0) return 0;
  return std::max<std::size_t>(options_.degree / static_cast<std::size_t>(fetches), 1);
}

// Those that have the model, or have not said yet.
std::size_t Core::neighbours_of(const Model& model) const {
  return static_cast<std::size_t>(std::ranges::count_if(links_, [&](const auto& entry) {
    const Link& link = entry.second;
    const auto at = link.models.find(model.key);
    return at != link.models.end() && is_neighbour(link) &&
           (!at->second.answered || link.session.peer_opened(at->second.channel));
  }));
}

// That are still to be looked for: until there are enough, and enough for each fetch.
std::size_t Core::neighbours_missing() const {
  const std::size_t share = share_of_fetch();
  if (share == 0) return 0;
  std::size_t missing = 0;
  for (const auto& [key, model] : models_) {
    if (model->fetching) missing += share - std::min(share, neighbours_of(*model));
  }
  return std::max<std::size_t>(missing, options_.degree - std::min(options_.degree, neighbours_));
}

// Dials that may be under way.
std::size_t Core::dials_most() const {
  return links_.size() >= limits::kConnectionsMax ? 0 : std::min(kDialsMax, neighbours_missing_);
}

// Near neighbours that are still to be looked for.
std::size_t Core::near_missing() const {
  const std::uint32_t share = options_.degree - far_neighbours(options_.degree);
  return share - std::min(share, near_neighbours_);
}

// With neighbours enough, only for the fetches that lack some: addresses told by who has their
// models, and given ones, of which nobody knows what is there.
void Core::dial_due(Time now) {
  if (std::exchange(neighbours_changed_, false)) neighbours_missing_ = neighbours_missing();
  const std::size_t most = dials_most();
  if (most <= addresses_.dialing()) return;
  std::optional<std::set<NodeId>> tellers;
  if (neighbours_ >= options_.degree) {
    if (now < dial_for_few_due_) return;
    dial_for_few_due_ = now + kDialForFewEvery;
    tellers.emplace();
    for (const auto& [key, model] : models_) {
      if (!model->fetching || neighbours_of(*model) >= share_of_fetch()) continue;
      tellers->insert(model->tellers.begin(), model->tellers.end());
    }
  }
  for (std::string& address :
       addresses_.take_due(now, most, near_missing(), random_, tellers ? &*tellers : nullptr)) {
    actions_.push_back(action::Dial{std::move(address)});
  }
}

std::optional<Time> Core::next_dial() const {
  const auto due = addresses_.dialing() < dials_most() ? addresses_.next_due() : std::nullopt;
  return due && neighbours_ >= options_.degree ? std::max(*due, dial_for_few_due_) : due;
}

// A full peer is no error: it has told of others, and is tried again later.
void Core::found_full(Link& link, Time now) {
  log(false, link.address + " is full");
  for (const std::string& address : link.dialed_addresses) addresses_.full(address, now, random_);
  link.dialed_addresses.clear();
}

// --- taking and leaving ---

// Who has just said HELLO becomes a neighbour or, if there is no room, a visitor.
void Core::take_in(Link& link, Time now) {
  link.ready_at = now;
  if (neighbours_ < most_neighbours(options_.degree)) return;
  auto left = whom_to_leave(all_neighbours(now), options_.degree, random_);
  if (!left && link.dialed) left = spare_neighbour();
  if (left) {
    leave(*find_link(*left), now);
  } else {
    link.visiting = true;
  }
}

// Where some fetch lacks neighbours: one that no fetch lacks, with no piece moving if there is
// such.
std::optional<ConnectionId> Core::spare_neighbour() {
  if (neighbours_missing_ == 0) return std::nullopt;
  std::set<ModelKey> scarce;
  for (const auto& [key, model] : models_) {
    if (model->fetching && neighbours_of(*model) <= share_of_fetch()) scarce.insert(key);
  }
  std::vector<ConnectionId> idle;
  std::vector<ConnectionId> moving;
  for (const auto& [id, link] : links_) {
    const bool needed = std::ranges::any_of(link.models, [&](const auto& entry) {
      return scarce.contains(entry.first) && link.session.peer_opened(entry.second.channel);
    });
    if (needed || !is_neighbour(link)) continue;
    (link.receiving || !link.uploads.empty() ? moving : idle).push_back(id);
  }
  const std::vector<ConnectionId>& spare = idle.empty() ? moving : idle;
  if (spare.empty()) return std::nullopt;
  return spare[std::uniform_int_distribution<std::size_t>(0, spare.size() - 1)(random_)];
}

std::vector<Neighbour> Core::all_neighbours(Time now) const {
  std::vector<Neighbour> all;
  for (const auto& [id, link] : links_) {
    if (!is_neighbour(link)) continue;
    std::size_t links = 0;
    bool seeks = false;
    for (const auto& [key, at] : link.models) {
      links = std::max(links, at.connected_to.size());
      seeks |= at.wants;
    }
    all.push_back({.link = id,
                   .seeks = seeks,
                   .useful = has_for_us(link) || wants_of_us(link),
                   .near = link.near,
                   .moving = link.receiving || !link.uploads.empty(),
                   .links = static_cast<std::uint32_t>(links),
                   .age = now - link.ready_at});
  }
  return all;
}

// Whether it has pieces that are missing here, or may turn out to.
bool Core::has_for_us(const Link& link, const Model& model) const {
  const auto at = link.models.find(model.key);
  if (at == link.models.end() || !model.fetching) return false;
  if (!link.session.peer_opened(at->second.channel)) return false;
  return !at->second.introduced || model.download->has_missing(link.id);
}

bool Core::has_for_us(const Link& link) const {
  return std::ranges::any_of(models_,
                             [&](const auto& entry) { return has_for_us(link, *entry.second); });
}

// A fetch for which no neighbour has anything.
bool Core::starved(const Model& model) const {
  return model.fetching && std::ranges::none_of(links_, [&](const auto& entry) {
           return is_neighbour(entry.second) && has_for_us(entry.second, model);
         });
}

bool Core::wants_of_us(const Link& link) const {
  return std::ranges::any_of(link.models, [&](const auto& entry) {
    const auto& [key, at] = entry;
    const Model* model = find_model(key);
    if (model == nullptr || !link.session.peer_opened(at.channel)) return false;
    return !at.introduced || model->upload->wants_of_us(link.id);
  });
}

void Core::leave(Link& link, Time now) {
  remember(link, now);
  for (const std::string& address : link.dialed_addresses) addresses_.full(address, now, random_);
  link.dialed_addresses.clear();
  close_link(link, CloseReason::kOverload, "others need the connection more");
}

void Core::remember(const Link& link, Time now) {
  if (link.told_addresses.empty()) return;
  acquaintances_.met({.id = link.hello->node_id,
                      .address = link.told_addresses.front(),
                      .site = site_tag(link.hello->site)},
                     now);
}

void Core::end_visit(Link& link, Time now) {
  if (!link.visiting || link.close_asked) return;
  if (link.told || now - link.ready_at >= kVisitMax) leave(link, now);
}

// A fetch whose neighbours have nothing for it looks for others, one at a time; so does one that
// has too few near neighbours and knows of others.
void Core::choose_again(Time now) {
  if (!rechoose_due_) rechoose_due_ = now + kRechooseEvery;
  if (now < *rechoose_due_) return;
  rechoose_due_ = now + kRechooseEvery;
  const auto other = addresses_.next_due();
  if (!other || *other > now || neighbours_ < options_.degree) return;
  bool fetching = false;
  bool starves = false;
  for (const auto& [key, model] : models_) {
    if (!model->fetching || model->finishing || model->state == Model::State::kOpening) continue;
    fetching = true;
    starves = starves || starved(*model);
  }
  if (!fetching) return;
  std::vector<ConnectionId> idle;
  for (const Neighbour& neighbour : all_neighbours(now)) {
    if (neighbour.age < kRechooseEvery || neighbour.moving) continue;
    const bool elsewhere =
        !neighbour.near && neighbour.seeks && near_missing() > 0 && addresses_.is_due(true, now);
    const bool holds_none = starves && !has_for_us(*find_link(neighbour.link));
    if (holds_none || !neighbour.useful || elsewhere) idle.push_back(neighbour.link);
  }
  if (idle.empty()) return;
  std::uniform_int_distribution<std::size_t> any(0, idle.size() - 1);
  leave(*find_link(idle[any(random_)]), now);
}

// --- telling others ---

std::vector<PeerAddress> Core::told_of(const Model& model, std::size_t others, Time now) {
  std::vector<PeerAddress> known;
  std::set<NodeId> linked;
  for (const auto& [id, link] : links_) {
    const auto at = link.models.find(model.key);
    if (at == link.models.end() || !is_neighbour(link)) continue;
    if (!link.session.peer_opened(at->second.channel)) continue;
    const NodeId& node = link.hello->node_id;
    const std::uint32_t site = site_tag(link.hello->site);
    linked.insert(node);
    if (link.told_addresses.empty()) {
      known.push_back({.id = node, .address = "", .connected = true, .site = site});
    }
    const auto addresses = std::min(link.told_addresses.size(), kAddressesTold);
    for (std::size_t i = 0; i < addresses; ++i) {
      known.push_back(
          {.id = node, .address = link.told_addresses[i], .connected = true, .site = site});
    }
  }
  std::ranges::move(acquaintances_.sample(others, linked, now, random_), std::back_inserter(known));
  return known;
}

void Core::tell_visitor(Link& link, const Model& model, Channel channel, Time now) {
  std::vector<PeerAddress> known = told_of(model, kVisitorsTold, now);
  std::ranges::shuffle(known, random_);
  if (known.size() > kVisitorsTold) known.resize(kVisitorsTold);
  link.session.peers(channel, known);
  link.told = true;
  output_ready_.insert(link.id);
}

// New neighbours are told at once, the others when it is due.
void Core::tell_peers(Model& model, Time now) {
  const bool all = model.to_peers_changed && now >= model.tell_due;
  if (!all && !std::exchange(model.newcomers, false)) return;
  if (all) {
    model.to_peers_changed = model.newcomers = false;
    const auto links = static_cast<Duration::rep>(neighbours_);
    model.tell_due = now + kTellPeersEveryPerPair * (links * links);
  }
  const std::vector<PeerAddress> known = told_of(model, kOthersTold, now);
  for (auto& [id, link] : links_) {
    const auto at = link.models.find(model.key);
    if (at == link.models.end() || !at->second.introduced || link.close_asked) continue;
    if (!all && at->second.told) continue;
    at->second.told = true;
    link.session.peers(at->second.channel, known);
    output_ready_.insert(id);
  }
}

}  // namespace shardswarm
