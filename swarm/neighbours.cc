#include "swarm/neighbours.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace shardswarm {
namespace {

constexpr std::size_t kAcquaintancesMax = 256;
constexpr Duration kAcquaintedFor = std::chrono::minutes(5);

}  // namespace

std::optional<PeerKey> whom_to_leave(std::span<const Neighbour> neighbours, std::uint32_t degree,
                                     std::mt19937_64& random) {
  constexpr int kKeep = 3;
  const auto rank = [degree](const Neighbour& neighbour) {
    if (!neighbour.useful && neighbour.age >= kSettled) return 0;
    if (neighbour.seeks && neighbour.links > degree) return neighbour.moving ? 2 : 1;
    return kKeep;
  };
  int lowest = kKeep;
  for (const Neighbour& neighbour : neighbours) lowest = std::min(lowest, rank(neighbour));
  if (lowest == kKeep) return std::nullopt;
  const auto far = std::ranges::count_if(neighbours, [](const auto& n) { return !n.near; });
  const bool leave_near = far <= static_cast<std::ptrdiff_t>(far_neighbours(degree));
  std::vector<PeerKey> equal;
  std::vector<PeerKey> of_class;
  for (const Neighbour& neighbour : neighbours) {
    if (rank(neighbour) != lowest) continue;
    equal.push_back(neighbour.link);
    if (neighbour.near == leave_near) of_class.push_back(neighbour.link);
  }
  if (!of_class.empty()) equal = std::move(of_class);
  return equal[std::uniform_int_distribution<std::size_t>(0, equal.size() - 1)(random)];
}

void Acquaintances::met(PeerAddress node, Time now) {
  std::erase_if(met_, [&](const Met& old) {
    return old.node.id == node.id || now - old.at >= kAcquaintedFor;
  });
  if (met_.size() >= kAcquaintancesMax) met_.pop_front();
  node.connected = false;
  met_.push_back({.node = std::move(node), .at = now});
}

std::vector<PeerAddress> Acquaintances::sample(std::size_t most, const std::set<NodeId>& leave_out,
                                               Time now, std::mt19937_64& random) const {
  std::vector<PeerAddress> known;
  for (const Met& met : met_) {
    if (now - met.at < kAcquaintedFor && !leave_out.contains(met.node.id)) {
      known.push_back(met.node);
    }
  }
  std::vector<PeerAddress> chosen;
  std::sample(known.begin(), known.end(), std::back_inserter(chosen), most, random);
  return chosen;
}

}  // namespace shardswarm
