// With whom a node stays connected when the swarm is larger than it wants connections. Rules only;
// Neighbourhood applies them (swarm/neighbourhood.h).
//
//  - A node dials until it has `degree` neighbours, and takes dialers until it has half as many
//    more. Up to `degree` + 1 nodes so become a full mesh.
//  - A full node that is dialed makes room by leaving a neighbour that needs it least: first one
//    where neither side has anything for the other, then one that has more than `degree` links
//    itself and so need not look for another. (Who has all it wants dials nobody: a seed
//    is not left for having many links, or it would end with none.) Newcomers are thus put into the
//    middle of links of well-linked nodes, which keeps the graph near a random one, however they
//    come: each loss of a link above the degree buys one below it, so it ends.
//  - If nobody can be left, the dialer is a *visitor*: it is told addresses and sent away. Its
//    neighbours have few links then, or there would be somebody to leave, so the addresses of
//    neighbours are good ones; those of nodes sent away before are told too, so that newcomers that
//    wait at one door find each other.
//  - Where nodes have site labels, three quarters of the neighbours are sought in the own site, and
//    a quarter elsewhere: sites stay joined by many links, and most bytes need not leave theirs.
// Not thread-safe. Time and randomness are handed in.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "base/time.h"
#include "scheduler/download.h"
#include "wire/session.h"

namespace shardswarm {

// A neighbour, as seen by who may have to leave one.
struct Neighbour {
  PeerKey link;
  bool seeks = true;        // it fetches, and so looks for neighbours itself
  bool useful = true;       // one side may have pieces that the other wants
  bool near = true;         // of our own site
  bool moving = false;      // a piece is under way, or about to be
  std::uint32_t links = 0;  // that it told of; 0: nothing yet
  Duration age{};           // since the connection stands
};

// What there was no time yet to tell is not held against a new neighbour.
inline constexpr Duration kSettled = std::chrono::seconds(5);

constexpr std::uint32_t most_neighbours(std::uint32_t degree) { return degree + degree / 2; }

constexpr std::uint32_t far_neighbours(std::uint32_t degree) { return degree / 4; }

// Whom a full node leaves for a newcomer, if anybody; one with no piece moving, where there is a
// choice, then of the class (near or far) that has more than its share, and else at random.
std::optional<PeerKey> whom_to_leave(std::span<const Neighbour> neighbours, std::uint32_t degree,
                                     std::mt19937_64& random);

// Nodes that were here and are no neighbours: sent away or left for want of room. The last 256 are
// remembered, for five minutes.
class Acquaintances {
 public:
  void met(PeerAddress node, Time now);
  // Up to `most` at random without those in `leave_out`, each with connected = false.
  std::vector<PeerAddress> sample(std::size_t most, const std::set<NodeId>& leave_out, Time now,
                                  std::mt19937_64& random) const;

 private:
  struct Met {
    PeerAddress node;
    Time at{};
  };
  std::deque<Met> met_;  // the latest last
};

}  // namespace shardswarm
