// Nodes that are nothing but a DownloadScheduler and an UploadScheduler, joined by messages with a
// fixed delay and uplinks of a fixed rate, in virtual time.
#include <gmock/gmock.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "scheduler/download.h"
#include "scheduler/upload.h"
#include "tests/scheduler/runs.h"

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;

// As in node/: pieces chosen ahead for each connection, HAVE batching.
constexpr std::size_t kAhead = 2;
constexpr Duration kAnnounceDelay = 5ms;
constexpr Duration kVerifying = 1ms;
constexpr Time kNever = Time::max();

// A piece on its way, as one of the two ends sees it.
struct Transfer {
  PieceIndex piece;
  std::uint32_t bytes = 0;  // so far
  bool off = false;         // cancelled there, thrown away here
};

struct Member {
  struct Traits {
    double rate = 100e6;  // uplink, bytes a second
    double rejects = 0;   // chance that it refuses a piece it is asked for
    double corrupts = 0;  // chance that a piece it sends is wrong
    bool mute = false;    // accepts requests, sends nothing
    Time joins{}, leaves = kNever;
    bool reliable() const { return corrupts == 0 && !mute && leaves == kNever; }
  };
  struct Link {
    Member* peer;
    std::deque<Transfer> queue;
    std::optional<Transfer> receiving;
  };

  PeerKey key;  // the same for all neighbours: nobody comes back
  NodeId id;
  Traits traits;
  PieceSet have, wants, verifying, unannounced;
  PieceSet due;  // what it must have in the end
  std::unique_ptr<DownloadScheduler> down;
  std::unique_ptr<UploadScheduler> up;
  std::map<PeerKey, Link> links;
  bool here = false, sending = false;
  PeerKey served;  // last, round robin
  Time wakes = kNever;
  std::uint64_t sent_bytes = 0;
  // What the test knows of the requests under way, to judge the scheduler's.
  std::map<PieceIndex, std::set<PeerKey>> under_way;
  std::map<PieceIndex, Time> retried;  // refused or withdrawn: may be held back until then
};

class Swarm {
 public:
  Swarm(std::uint32_t pieces, PieceBytes bytes, Duration latency, std::uint64_t seed)
      : pieces_(pieces), bytes_(std::move(bytes)), latency_(latency), random_(seed) {}

  Member& add(PieceSet have, PieceSet wants, Member::Traits traits) {
    auto member = std::make_unique<Member>();
    Member& m = *member;
    m.key = PeerKey(members_.size() + 1);
    m.id.bytes[0] = static_cast<std::byte>(m.key.value);
    m.traits = traits;
    m.have = std::move(have);
    m.wants = std::move(wants);
    m.verifying = m.unannounced = PieceSet(pieces_);
    DownloadOptions download;
    download.seed = random_();
    m.down = std::make_unique<DownloadScheduler>(pieces_, bytes_, download);
    m.down->want(m.wants - m.have);
    m.up = std::make_unique<UploadScheduler>(pieces_, bytes_, UploadOptions{});
    m.up->have(m.have.runs());
    members_.push_back(std::move(member));
    at(traits.joins, [&m] { m.here = true; });
    if (traits.leaves != kNever) at(traits.leaves, [this, &m] { leave(m); });
    return m;
  }
  // From when both are here on.
  void join(Member& a, Member& b) {
    at(std::max(a.traits.joins, b.traits.joins), [this, &a, &b] {
      if (!a.here || !b.here) return;
      introduce(a, b);
      introduce(b, a);
    });
    edges_.emplace_back(&a, &b);
    edges_.emplace_back(&b, &a);
  }

  // Until everybody reliable has what can be had, or `limit`.
  void run(Time limit) {
    find_obtainable();
    const auto complete = [](const auto& m) { return (m->due - m->have).empty(); };
    while (!events_.empty() && now_ <= limit && problems.size() < 5) {
      auto next = events_.extract(events_.begin());
      now_ = next.key().first;
      next.mapped()();
      if (std::all_of(members_.begin(), members_.end(), complete)) return;
    }
    for (const auto& m : members_) {
      if (complete(m)) continue;
      problems.push_back("node " + std::to_string(m->key.value) + " lacks " +
                         std::to_string((m->due - m->have).count()) + " pieces");
    }
  }

  Time now() const { return now_; }
  std::uint64_t decisions = 0, sent_bytes = 0, duplicate_bytes = 0;
  std::vector<std::string> problems;

 private:
  // What reliable nodes hold or can get over connections between reliable nodes.
  void find_obtainable() {
    for (const auto& m : members_) m->due = m->have;
    for (bool changed = true; changed;) {
      changed = false;
      for (const auto& [from, to] : edges_) {
        if (!from->traits.reliable() || !to->traits.reliable()) continue;
        const PieceSet more = (from->due & to->wants) - to->due;
        changed = changed || !more.empty();
        to->due |= more;
      }
    }
  }

  void at(Time when, std::function<void()> what) {
    events_.emplace(std::pair(when, next_event_++), std::move(what));
  }
  // A message: f(receiver, its link) if both are still connected when it comes.
  template <class F>
  void send(Member& from, Member& to, F&& f) {
    at(now_ + latency_, [this, &from, &to, f = std::forward<F>(f)] {
      if (!to.here || !to.links.contains(from.key)) return;
      f(to.links.at(from.key));
      settle(to);
    });
  }

  template <class F>
  void tell(Member& m, F&& f) {  // all neighbours
    for (auto& [key, link] : m.links) send(m, *link.peer, [&to = *link.peer, f](auto&) { f(to); });
  }

  void introduce(Member& m, Member& other) {
    m.links.emplace(other.key, Member::Link{&other, {}, {}});
    m.down->add_peer(other.key, now_);
    m.down->measured_round_trip(other.key, 2 * latency_);
    m.up->add_peer(other.key, other.id, now_);
    send(m, other, [&, have = m.have.runs(), wants = m.wants.runs()](auto&) {
      other.down->peer_has(m.key, have);
      other.up->peer_has(m.key, have, now_);
      other.up->peer_wants(m.key, wants);
    });
    tell_peers(m);
  }
  void tell_peers(Member& m) {
    std::vector<NodeId> known;
    for (const auto& [key, link] : m.links) known.push_back(link.peer->id);
    tell(m, [&m, known](Member& to) { to.up->peer_connected_to(m.key, known); });
  }
  void disconnect(Member& m, Member& other) {
    for (auto [a, b] : {std::pair(&m, &other), std::pair(&other, &m)}) {
      if (a->links.erase(b->key) == 0) continue;
      a->down->remove_peer(b->key);
      a->up->remove_peer(b->key);
      for (auto& [piece, peers] : a->under_way) peers.erase(b->key);
      tell_peers(*a);
      settle(*a);
    }
  }
  void leave(Member& m) {
    m.here = false;
    while (!m.links.empty()) disconnect(m, *m.links.begin()->second.peer);
  }

  void settle(Member& m) {
    if (!m.here) return;
    decide(m);
    m.up->expire(now_);
    if (!m.traits.mute) pump(m);
    Time due = kNever;
    for (const auto& next : {m.down->next_deadline(), m.up->next_deadline()}) {
      if (!next) continue;
      if (*next <= now_) problems.push_back("a deadline that is over already");
      due = std::min(due, *next);
    }
    if (due >= m.wakes) return;
    m.wakes = due;
    at(due, [this, &m, due] {
      if (m.wakes != due) return;
      m.wakes = kNever;
      settle(m);
    });
  }

  void decide(Member& m) {
    ++decisions;
    const Decision decision = m.down->decide(now_);
    for (const Withdraw& withdraw : decision.withdraw) {
      Member::Link& link = m.links.at(withdraw.peer);
      for_pieces(withdraw.pieces, [&](PieceIndex piece) {
        if (link.receiving && link.receiving->piece == piece) give_up(*link.receiving);
        not_under_way(m, withdraw.peer, piece);
      });
      cancel(m, *link.peer, withdraw.pieces);
    }
    for (const Ask& ask : decision.ask) {
      if (!ask.any) for_pieces(ask.pieces, [&](PieceIndex piece) { judge(m, ask.peer, piece); });
      Member& to = *m.links.at(ask.peer).peer;
      send(m, to, [this, &m, &to, ask](auto&) { requested(to, m, ask); });
    }
  }
  void give_up(Transfer& receiving) {
    if (!std::exchange(receiving.off, true)) duplicate_bytes += receiving.bytes;
  }
  void not_under_way(Member& m, PeerKey peer, PieceIndex piece) {
    m.under_way[piece].erase(peer);
    m.retried[piece] = now_ + DownloadOptions().retry;
  }
  // A second peer may be asked only when everything missing that can be had is under way.
  void judge(Member& m, PeerKey peer, PieceIndex piece) {
    auto& peers = m.under_way[piece];
    const PieceSet missing = m.wants - m.have - m.verifying;
    if (!missing.contains(piece)) problems.push_back("a piece is pulled that is not missing");
    if (peers.size() > 1) problems.push_back("a third peer is asked for a piece");
    if (peers.size() == 1) {
      missing.for_each([&](PieceIndex other) {
        if (m.under_way[other].empty() && m.retried[other] <= now_ &&
            m.down->availability(other) > 0) {
          problems.push_back("asked twice while another piece is not under way");
        }
      });
    }
    if (!peers.insert(peer).second) problems.push_back("the same peer is asked twice");
  }

  void cancel(Member& m, Member& to, const Runs& pieces) {
    send(m, to, [this, &m, &to, pieces](Member::Link& link) {
      tell_cancelled(to, m, to.up->withdrawn(m.key, pieces, 0));
      for_pieces(pieces, [&](PieceIndex piece) {
        for (Transfer& sending : link.queue) {
          if (sending.piece == piece) sending.off = true;
        }
      });
    });
  }
  void tell_cancelled(Member& m, Member& to, const Runs& pieces) {
    if (pieces.empty()) return;
    send(m, to, [this, &m, &to, pieces](auto&) {
      for_pieces(pieces, [&](PieceIndex piece) { not_under_way(to, m.key, piece); });
      to.down->cancelled(m.key, pieces);
    });
  }
  void requested(Member& m, Member& from, const Ask& ask) {
    Runs served, refused;
    for_pieces(ask.pieces, [&](PieceIndex piece) {
      const bool refuse = std::bernoulli_distribution(m.traits.rejects)(random_);
      (refuse ? refused : served).push_back({piece, 1});
    });
    const auto answer = m.up->asked(from.key, served, ask.credit_bytes, ask.any);
    refused.insert(refused.end(), answer.not_here.begin(), answer.not_here.end());
    refused.insert(refused.end(), answer.leased.begin(), answer.leased.end());
    send(m, from, [this, &m, &from, refused](auto&) {
      for_pieces(refused, [&](PieceIndex piece) { not_under_way(from, m.key, piece); });
      from.down->rejected(m.key, refused, now_);
    });
  }

  void pump(Member& m) {
    for (auto& [key, link] : m.links) {
      Member& to = *link.peer;
      drop_cancelled(m, link);
      while (link.queue.size() < kAhead) {
        const auto piece = m.up->choose(key, UploadScheduler::Copy::kAny, now_);
        if (!piece) break;
        link.queue.push_back({*piece});
        send(m, to, [this, &m, &to, p = *piece](auto&) {
          if (!welcome(to, m, p, to.down->claimed(m.key, p, now_))) cancel(to, m, {{p, 1}});
        });
      }
    }
    serve(m);
  }
  static bool welcome(Member& m, Member& from, PieceIndex piece, bool is) {
    if (is) m.under_way[piece].insert(from.key);
    return is;
  }
  // The piece whose bytes are on the uplink just now stays.
  void drop_cancelled(Member& m, Member::Link& link) {
    const bool busy = m.sending && m.served == link.peer->key;
    const auto on_uplink = busy ? std::optional(link.queue.front().piece) : std::nullopt;
    Member& to = *link.peer;
    std::erase_if(link.queue, [&](const Transfer& sending) {
      if (!sending.off || sending.piece == on_uplink) return false;
      m.up->unsent(to.key, sending.piece);
      tell_cancelled(m, to, {{sending.piece, 1}});
      send(m, to, [this, piece = sending.piece](Member::Link& theirs) {
        if (!theirs.receiving || theirs.receiving->piece != piece) return;
        give_up(*theirs.receiving);
        theirs.receiving.reset();
      });
      return true;
    });
  }
  // One frame of the next connection that has something to send.
  void serve(Member& m) {
    if (m.sending) return;
    const auto waits = [](const auto& entry) { return !entry.second.queue.empty(); };
    auto it = std::find_if(m.links.upper_bound(m.served), m.links.end(), waits);
    if (it == m.links.end()) it = std::find_if(m.links.begin(), m.links.end(), waits);
    if (it == m.links.end()) return;
    m.sending = true;
    m.served = it->first;
    const Transfer& sending = it->second.queue.front();
    const std::uint32_t bytes =
        std::min(limits::kShortFrameBytes, bytes_(sending.piece) - sending.bytes);
    const Duration busy(static_cast<std::int64_t>(bytes / m.traits.rate * 1e9));
    at(now_ + busy, [this, &m, to = m.served, bytes] {
      m.sending = false;
      if (m.links.contains(to)) frame_sent(m, m.links.at(to), bytes);
      settle(m);
    });
  }
  void frame_sent(Member& m, Member::Link& link, std::uint32_t bytes) {
    Transfer& sending = link.queue.front();
    const PieceIndex piece = sending.piece;
    Member& to = *link.peer;
    m.sent_bytes += bytes;
    sent_bytes += bytes;
    sending.bytes += bytes;
    const bool last = sending.bytes == bytes_(piece);
    if (last) {
      m.up->sent(to.key, piece, bytes_(piece), now_);
      link.queue.pop_front();
    }
    send(m, to, [this, &m, &to, piece, bytes, last](Member::Link& theirs) {
      frame_came(to, m, theirs, piece, bytes, last);
    });
  }

  void frame_came(Member& m, Member& from, Member::Link& link, PieceIndex piece,
                  std::uint32_t bytes, bool last) {
    if (!link.receiving) {
      link.receiving = {piece};
      if (!welcome(m, from, piece, m.down->begins(from.key, piece, now_))) {
        link.receiving->off = true;
        cancel(m, from, {{piece, 1}});
      }
    }
    Transfer& receiving = *link.receiving;
    receiving.bytes += bytes;
    if (receiving.off) {
      duplicate_bytes += bytes;
    } else {
      m.down->bytes_arrived(from.key, piece, bytes, now_);
    }
    if (!last) return;
    const bool keep = !receiving.off && !m.have.contains(piece) && m.verifying.insert(piece);
    if (!keep) give_up(receiving);
    link.receiving.reset();
    if (!keep) return;
    m.down->arrived(from.key, piece);
    m.under_way.erase(piece);
    const bool right = !std::bernoulli_distribution(from.traits.corrupts)(random_);
    at(now_ + kVerifying, [this, &m, &from, piece, right] { verified(m, from, piece, right); });
  }
  void verified(Member& m, Member& from, PieceIndex piece, bool right) {
    m.verifying.erase(piece);
    if (!right) {
      m.down->failed(from.key, piece);
      disconnect(m, from);
      return settle(m);
    }
    m.have.insert(piece);
    m.down->verified(piece);
    m.up->have(Runs{{piece, 1}});
    if (m.unannounced.empty()) at(now_ + kAnnounceDelay, [this, &m] { announce(m); });
    m.unannounced.insert(piece);
    settle(m);
  }
  void announce(Member& m) {
    const Runs news = m.unannounced.runs();
    m.unannounced.clear();
    tell(m, [this, &m, news, done = m.down->done()](Member& to) {
      to.down->peer_has(m.key, news);
      to.up->peer_has(m.key, news, now_);
      if (done) to.up->peer_wants(m.key, {});
    });
  }

  std::uint32_t pieces_;
  PieceBytes bytes_;
  Duration latency_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::pair<Member*, Member*>> edges_;
  std::map<std::pair<Time, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t next_event_ = 0;
  Time now_{};
};

// One source and eight takers, all with the same uplink: at best everything leaves the source once
// and the takers pass it on meanwhile, so the bound is the time of one copy.
TEST(SwarmProperty, OneSourceAndEightTakersComeCloseToTheBound) {
  constexpr std::uint32_t kPieces = 256;
  constexpr double kRate = 100e6;
  Swarm swarm(kPieces, [](PieceIndex) { return std::uint32_t{1 << 20}; }, 1ms, 1);
  const PieceSet full = PieceSet::full(kPieces);
  const PieceSet none(kPieces);
  std::vector<Member*> all{&swarm.add(full, none, {.rate = kRate})};
  while (all.size() < 9) {
    Member& taker = swarm.add(none, full, {.rate = kRate});
    for (Member* other : all) swarm.join(taker, *other);
    all.push_back(&taker);
  }
  swarm.run(60s);
  EXPECT_THAT(swarm.problems, testing::IsEmpty());
  const double total = kPieces * double{1 << 20};
  const double copies = static_cast<double>(all[0]->sent_bytes) / total;
  const double of_bound = std::chrono::duration<double>(swarm.now()).count() / (total / kRate);
  RecordProperty("source_copies_x1000", static_cast<int>(copies * 1000));
  RecordProperty("makespan_of_bound_x1000", static_cast<int>(of_bound * 1000));
  EXPECT_LE(copies, 1.2);
  EXPECT_LE(of_bound, 1.35);
}

// A swarm with everything that can go wrong, by seed.
std::unique_ptr<Swarm> random_swarm(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto upto = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  const auto chance = [&](double p) { return std::bernoulli_distribution(p)(random); };
  const std::uint32_t pieces = 1 + upto(96);
  const std::uint32_t unit = 1 + upto(64);  // KiB
  const auto bytes = [=](PieceIndex piece) { return (1 + piece.value * 7919 % 16) * unit * 1024; };
  const auto random_set = [&](double share) {
    PieceSet set(pieces);
    for (std::uint32_t i = 0; i < pieces; ++i) {
      if (chance(share)) set.insert(PieceIndex(i));
    }
    return set;
  };
  auto swarm = std::make_unique<Swarm>(pieces, bytes, Duration((1 + upto(400)) * 100us), seed);
  const std::uint32_t sources = 1 + upto(3);
  const std::uint32_t count = sources + 1 + upto(7);
  const double edges = chance(0.5) ? 1 : 0.6;
  std::vector<Member*> all;
  for (std::uint32_t i = 0; i < count; ++i) {
    const bool first = i == 0;
    Member::Traits traits{.rate = 2e6 * (1 + upto(50))};
    traits.rejects = chance(0.2) ? 0.1 : 0;
    traits.corrupts = !first && chance(0.1) ? 0.2 : 0;
    traits.mute = !first && chance(0.1);
    traits.joins = first ? 0ms : Time(upto(1500) * 1ms);
    if (!first && chance(0.15)) traits.leaves = traits.joins + upto(2000) * 1ms;
    const double had = first ? 1 : i < sources ? 0.7 : 0.3 * upto(2);
    const double wanted = i < sources ? 0 : 0.5 * (1 + upto(2));
    all.push_back(&swarm->add(random_set(had), random_set(wanted), traits));
    for (std::uint32_t other = 0; other < i; ++other) {
      if (other + 1 == i || chance(edges)) swarm->join(*all[i], *all[other]);
    }
  }
  return swarm;
}

TEST(SwarmProperty, WhatCanCompleteCompletesWithFewDuplicates) {
  double sent = 0, duplicates = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    const auto swarm = random_swarm(seed);
    swarm->run(300s);
    EXPECT_THAT(swarm->problems, testing::IsEmpty());
    EXPECT_LT(swarm->decisions, 20'000U);
    sent += static_cast<double>(swarm->sent_bytes);
    duplicates += static_cast<double>(swarm->duplicate_bytes);
  }
  RecordProperty("duplicates_x1000", static_cast<int>(duplicates / sent * 1000));
  EXPECT_LT(duplicates / sent, 0.05);
}

}  // namespace
}  // namespace shardswarm::test
