// Whom to dial, and whom to leave.
#include <algorithm>
#include <utility>

#include "swarm/context.h"

namespace shardswarm {
namespace {

constexpr std::size_t kDialsMax = 32;  // under way
// A node with neighbours enough that lacks some for one of its models looks through all addresses
// for that, no more often than so.
constexpr Duration kDialForFewEvery = std::chrono::seconds(1);
// A fetch that has nothing to ask for looks at HAVEs that come in milliseconds; after ten seconds
// it is no passing state. More often would leave neighbours that were about to get something.
constexpr Duration kRechooseEvery = std::chrono::seconds(10);

}  // namespace

// --- dialing ---

// Of the neighbours, each fetch seeks an equal part that has its model.
std::size_t Neighbourhood::share_of_fetch() const {
  const auto fetches = std::ranges::count_if(
      context_.models, [](const auto& entry) { return entry.second->live_fetch() != nullptr; });
  if (fetches == 0) return 0;
  return std::max<std::size_t>(context_.options.degree / static_cast<std::size_t>(fetches), 1);
}

// Those that have the model, or have not said yet.
std::size_t Neighbourhood::neighbours_of(const Model& model) const {
  return static_cast<std::size_t>(std::ranges::count_if(context_.links, [&](const auto& entry) {
    const Link& link = entry.second;
    const auto at = link.models.find(model.key);
    return at != link.models.end() && is_neighbour(link) &&
           (!at->second.answered || link.session.peer_opened(at->second.channel));
  }));
}

// That are still to be looked for: until there are enough, and enough for each fetch.
std::size_t Neighbourhood::missing() const {
  const std::size_t share = share_of_fetch();
  if (share == 0) return 0;
  std::size_t missing = 0;
  for (const auto& [key, model] : context_.models) {
    if (model->live_fetch() != nullptr) missing += share - std::min(share, neighbours_of(*model));
  }
  const std::uint32_t degree = context_.options.degree;
  return std::max<std::size_t>(missing, degree - std::min(degree, context_.links.neighbours()));
}

// Dials that may be under way.
std::size_t Neighbourhood::dials_most() const {
  return context_.links.size() >= limits::kConnectionsMax ? 0 : std::min(kDialsMax, missing_);
}

// Near neighbours that are still to be looked for.
std::size_t Neighbourhood::near_missing() const {
  const std::uint32_t degree = context_.options.degree;
  const std::uint32_t share = degree - far_neighbours(degree);
  return share - std::min(share, context_.links.near_neighbours());
}

// With neighbours enough, only for the fetches that lack some: addresses told by who has their
// models, and given ones, of which nobody knows what is there.
void Neighbourhood::dial_due(Time now) {
  const bool links_changed = context_.links.take_neighbours_changed();
  if (std::exchange(changed_, false) || links_changed) missing_ = missing();
  const std::size_t most = dials_most();
  if (most <= addresses_.dialing()) return;
  std::optional<std::set<NodeId>> tellers;
  if (context_.links.neighbours() >= context_.options.degree) {
    if (now < dial_for_few_due_) return;
    dial_for_few_due_ = now + kDialForFewEvery;
    tellers.emplace();
    for (const auto& [key, model] : context_.models) {
      if (model->live_fetch() == nullptr || neighbours_of(*model) >= share_of_fetch()) continue;
      const auto& told = model->exchange.tellers();
      tellers->insert(told.begin(), told.end());
    }
  }
  for (std::string& address : addresses_.take_due(now, most, near_missing(), context_.random,
                                                  tellers ? &*tellers : nullptr)) {
    context_.out.push(action::Dial{std::move(address)});
  }
}

std::optional<Time> Neighbourhood::next_dial() const {
  const auto due = addresses_.dialing() < dials_most() ? addresses_.next_due() : std::nullopt;
  return due && context_.links.neighbours() >= context_.options.degree
             ? std::max(*due, dial_for_few_due_)
             : due;
}

// --- leaving ---

// Where some fetch lacks neighbours: one that no fetch lacks, with no piece moving if there is
// such.
std::optional<ConnectionId> Neighbourhood::spare() {
  if (missing_ == 0) return std::nullopt;
  std::set<ModelKey> scarce;
  for (const auto& [key, model] : context_.models) {
    if (model->live_fetch() != nullptr && neighbours_of(*model) <= share_of_fetch()) {
      scarce.insert(key);
    }
  }
  std::vector<ConnectionId> idle;
  std::vector<ConnectionId> moving;
  for (const auto& [id, link] : context_.links) {
    const bool needed = std::ranges::any_of(link.models, [&](const auto& entry) {
      return scarce.contains(entry.first) && link.session.peer_opened(entry.second.channel);
    });
    if (needed || !is_neighbour(link)) continue;
    (link.downlink.arriving() || link.uplink.sending() ? moving : idle).push_back(id);
  }
  const std::vector<ConnectionId>& from = idle.empty() ? moving : idle;
  if (from.empty()) return std::nullopt;
  return from[std::uniform_int_distribution<std::size_t>(0, from.size() - 1)(context_.random)];
}

std::vector<Neighbour> Neighbourhood::all(Time now) const {
  std::vector<Neighbour> all;
  for (const auto& [id, link] : context_.links) {
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
                   .near = link.neighbour.near_,
                   .moving = link.downlink.arriving() || link.uplink.sending(),
                   .links = static_cast<std::uint32_t>(links),
                   .age = now - link.neighbour.ready_at_});
  }
  return all;
}

// Whether it has pieces that are missing here, or may turn out to.
bool Neighbourhood::has_for_us(const Link& link, const Model& model) const {
  const auto at = link.models.find(model.key);
  const Fetching* fetch = model.live_fetch();
  if (at == link.models.end() || fetch == nullptr) return false;
  if (!link.session.peer_opened(at->second.channel)) return false;
  return !at->second.introduced || fetch->download->has_missing(link.id);
}

bool Neighbourhood::has_for_us(const Link& link) const {
  return std::ranges::any_of(context_.models,
                             [&](const auto& entry) { return has_for_us(link, *entry.second); });
}

// A fetch for which no neighbour has anything.
bool Neighbourhood::starved(const Model& model) const {
  return model.live_fetch() != nullptr &&
         std::ranges::none_of(context_.links, [&](const auto& entry) {
           return is_neighbour(entry.second) && has_for_us(entry.second, model);
         });
}

bool Neighbourhood::wants_of_us(const Link& link) const {
  return std::ranges::any_of(link.models, [&](const auto& entry) {
    const auto& [key, at] = entry;
    const Model* model = context_.models.find(key);
    if (model == nullptr || !link.session.peer_opened(at.channel)) return false;
    return !at.introduced || model->upload->wants_of_us(link.id);
  });
}

void Neighbourhood::choose_again(Time now) {
  if (!rechoose_due_) rechoose_due_ = now + kRechooseEvery;
  if (now < *rechoose_due_) return;
  rechoose_due_ = now + kRechooseEvery;
  const auto other = addresses_.next_due();
  if (!other || *other > now || context_.links.neighbours() < context_.options.degree) return;
  bool fetching = false;
  bool starves = false;
  for (const auto& [key, model] : context_.models) {
    const Fetching* fetch = model->live_fetch();
    if (fetch == nullptr || fetch->step == Fetching::Step::kFinishing ||
        fetch->step == Fetching::Step::kOpening) {
      continue;
    }
    fetching = true;
    starves = starves || starved(*model);
  }
  if (!fetching) return;
  std::vector<ConnectionId> idle;
  for (const Neighbour& neighbour : all(now)) {
    if (neighbour.age < kRechooseEvery || neighbour.moving) continue;
    const bool elsewhere =
        !neighbour.near && neighbour.seeks && near_missing() > 0 && addresses_.is_due(true, now);
    const bool holds_none = starves && !has_for_us(*context_.links.find(neighbour.link));
    if (holds_none || !neighbour.useful || elsewhere) idle.push_back(neighbour.link);
  }
  if (idle.empty()) return;
  std::uniform_int_distribution<std::size_t> any(0, idle.size() - 1);
  leave(*context_.links.find(idle[any(context_.random)]), now);
}

}  // namespace shardswarm
