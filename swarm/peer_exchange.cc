#include "swarm/peer_exchange.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/address.h"
#include "swarm/context.h"

namespace shardswarm {
namespace {

// PEERS goes to every neighbour about every neighbour, some 60 bytes an entry: with this at most
// 120 KB/s while neighbours come and go, however many they are, and nothing when none does. Two
// nodes that meet at a third so tell it within 0.8 s at 40 neighbours, before it stops presuming
// that they are connected (scheduler/upload.cc).
constexpr Duration kTellPeersEveryPerPair = std::chrono::microseconds(500);
constexpr std::size_t kAddressesTold = 2;   // of one neighbour
constexpr std::size_t kOthersTold = 16;     // beside the neighbours
constexpr std::size_t kVisitorsTold = 128;  // to a visitor in all
constexpr std::size_t kTellersMax = 1024;   // kept of a fetch
static_assert(limits::kNeighboursMax * kAddressesTold + kOthersTold <= limits::kPeerAddressesMax);
static_assert(kVisitorsTold <= limits::kPeerAddressesMax);

}  // namespace

// The neighbours that have the model, and so many others that were neighbours or visitors.
std::vector<PeerAddress> PeerExchange::known(const Model& model, std::size_t others, Time now) {
  std::vector<PeerAddress> known;
  std::set<NodeId> linked;
  for (const auto& [id, link] : context_.links) {
    const auto at = link.models.find(model.key);
    if (at == link.models.end() || !is_neighbour(link)) continue;
    if (!link.session.peer_opened(at->second.channel)) continue;
    const NodeId& node = link.hello->node_id;
    const std::uint32_t site = site_tag(link.hello->site);
    const auto& told = link.neighbour.told_addresses();
    linked.insert(node);
    if (told.empty()) known.push_back({.id = node, .address = "", .connected = true, .site = site});
    for (std::size_t i = 0; i < std::min(told.size(), kAddressesTold); ++i) {
      known.push_back({.id = node, .address = told[i], .connected = true, .site = site});
    }
  }
  std::ranges::move(neighbourhood_.acquaintances().sample(others, linked, now, context_.random),
                    std::back_inserter(known));
  return known;
}

void PeerExchange::tell_visitor(Link& link, const Model& model, Channel channel, Time now) {
  std::vector<PeerAddress> told = known(model, kVisitorsTold, now);
  std::ranges::shuffle(told, context_.random);
  if (told.size() > kVisitorsTold) told.resize(kVisitorsTold);
  link.session.peers(channel, told);
  link.neighbour.told();
  context_.links.mark_ready(link);
}

void PeerExchange::tell(Model& model, Time now) {
  ExchangeRecord& record = model.exchange;
  const bool all = record.changed_ && now >= record.due_;
  if (!all && !std::exchange(record.newcomers_, false)) return;
  if (all) {
    record.changed_ = record.newcomers_ = false;
    const auto links = static_cast<Duration::rep>(context_.links.neighbours());
    record.due_ = now + kTellPeersEveryPerPair * (links * links);
  }
  const std::vector<PeerAddress> told = known(model, kOthersTold, now);
  for (auto& [id, link] : context_.links) {
    const auto at = link.models.find(model.key);
    if (at == link.models.end() || !at->second.introduced || link.closing) continue;
    if (!all && at->second.told) continue;
    at->second.told = true;
    link.session.peers(at->second.channel, told);
    context_.links.mark_ready(link);
  }
}

void PeerExchange::heard(Link& link, Model& model, const event::Peers& e, Time now) {
  const NodeId& teller = link.hello->node_id;
  const bool fetching = model.live_fetch() != nullptr;
  if (fetching && model.exchange.tellers_.size() < kTellersMax) {
    model.exchange.tellers_.insert(teller);
  }
  const std::uint32_t own_site = site_tag(context_.options.hello.site);
  std::vector<NodeId> connected;
  for (const PeerAddress& peer : e.peers) {
    if (peer.connected) connected.push_back(peer.id);
    if (peer.id == context_.options.hello.node_id || neighbourhood_.has_node(peer.id)) continue;
    // Numbers alone: names would let a peer occupy the resolver, or aim us at whom it likes.
    if (fetching && is_numeric_address(peer.address)) {
      neighbourhood_.add_learned(peer.address, teller, peer.site == own_site, now);
    }
  }
  std::ranges::sort(connected);  // a node with several addresses stands there several times
  connected.erase(std::ranges::unique(connected).begin(), connected.end());
  LinkModel& at = link.models.at(model.key);
  at.connected_to = std::move(connected);
  if (at.introduced) model.upload->peer_connected_to(link.id, at.connected_to);
}

std::optional<Time> PeerExchange::next_deadline(const Model& model) {
  return model.exchange.changed_ ? std::optional(model.exchange.due_) : std::nullopt;
}

}  // namespace shardswarm
