// Who to ask for what: the requesting side, one model.
//
// Rules, in this order:
//  - a piece that only one connected peer holds is *offered* to that peer: a set from which the
//    uploader chooses (late binding), with a byte credit that fills the peer's window;
//  - other pieces are *pulled*, each from one peer at a time, one after the other from the peer
//  that
//    owes least: rarest first, rarity weighed by how many peers still want the piece
//    (rarity_class() in scheduler/urgency.h), ties at random by seed; of all peers together no more
//    than `in_all` brings. While a source's offers flow, nothing that others have is pulled from
//    it;
//  - a far peer (of another site) is not asked for a piece that a near one holds, unless every near
//    holder rejected it lately or was silent;
//  - a peer's window follows its measured rate x (smallest round trip + 20 ms), within limits.h;
//  - a piece whose peer rejected it, failed, left or delivered nothing for the stall time is asked
//    from another; a peer that sent bad data is asked nothing more (`failed` bans it);
//  - endgame: when everything missing is under way, a piece that is late (twice its expected time)
//    is asked from one further holder; the slower one is cancelled.
// Not thread-safe. Time and randomness are handed in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "base/time.h"
#include "piece/piece_set.h"

namespace shardswarm {

// A connection, as schedulers name it. Never reused within a process.
using PeerKey = StrongIndex<struct PeerKeyTag, std::uint64_t>;

using PieceBytes = std::function<std::uint32_t(PieceIndex)>;  // length of a piece

struct DownloadOptions {
  std::uint64_t seed = 1;
  std::uint64_t window_bytes_min;  // defaults: limits.h
  std::uint64_t window_bytes_max;
  // Asked of all peers together: what they send in this time, and no less than these bytes. More
  // would be chosen early and come late, each peer's part of it.
  Duration in_all = std::chrono::milliseconds(100);
  std::uint64_t in_all_bytes_min = 8 * limits::kMiB;
  // And no more than this, but for a piece; 0: no bound. Under a rate limit more would only queue
  // up, too slow to seem alive.
  std::uint64_t outstanding_bytes_max = 0;
  Duration stall = std::chrono::seconds(5);  // a peer that owes us pieces and sends no byte
  Duration retry = std::chrono::seconds(1);  // before a peer is asked again for what it rejected
  // What only one peer holds is offered to it; else it is pulled like the rest.
  bool late_binding = true;
  // Pieces of a lower rank first, whatever their rarity; none: all alike.
  std::function<std::uint32_t(PieceIndex)> rank;
  DownloadOptions();
};

struct Ask {  // -> REQUEST
  PeerKey peer;
  std::vector<PieceRun> pieces;
  std::uint64_t credit_bytes = 0;  // of offers; a pull needs none
  bool any = false;                // an offer: the uploader chooses as many as the credit pays for
};
struct Withdraw {  // -> CANCEL
  PeerKey peer;
  std::vector<PieceRun> pieces;
  bool unclaimed = false;  // what it has claimed by then may come
};
struct Decision {
  std::vector<Withdraw> withdraw;  // to be sent before the asks
  std::vector<Ask> ask;
};

class DownloadScheduler {
 public:
  // Pieces [0, pieces); `bytes` is called for wanted pieces only.
  DownloadScheduler(std::uint32_t pieces, PieceBytes bytes, DownloadOptions options);
  ~DownloadScheduler();

  // What is missing and wanted; widening is another call. Pieces already wanted are left alone.
  void want(const PieceSet& pieces);

  // `near`: of our own site.
  void add_peer(PeerKey peer, Time now, bool near = true);
  void remove_peer(PeerKey peer);  // what it owed goes back
  void peer_has(PeerKey peer, std::span<const PieceRun> pieces);
  void peer_lost(PeerKey peer, std::span<const PieceRun> pieces);
  // What it is fetching itself and has not announced; replaces.
  void peer_wants(PeerKey peer, std::span<const PieceRun> pieces);
  void measured_round_trip(PeerKey peer, Duration rtt);

  // The peer says which piece it is about to send (CLAIM). Whether the bytes are welcome: false
  // when the piece is neither asked of it nor on offer to it (any more): the caller then cancels
  // it; if bytes come all the same they are duplicates.
  bool claimed(PeerKey peer, PieceIndex piece, Time now);
  // Its first DATA: the same, whether or not a CLAIM came before.
  bool begins(PeerKey peer, PieceIndex piece, Time now);
  // REJECT as the answer to our CANCEL: nothing of it comes any more, if we changed our mind since.
  void cancelled(PeerKey peer, std::span<const PieceRun> pieces);
  void bytes_arrived(PeerKey peer, PieceIndex piece, std::uint32_t bytes, Time now);
  // All bytes of a piece came and are being verified: nobody else is asked for it any more.
  void arrived(PeerKey peer, PieceIndex piece);
  void verified(PieceIndex piece);              // it is ours
  void failed(PeerKey peer, PieceIndex piece);  // bad data: wanted again, the peer is banned
  void dropped(PieceIndex piece);               // arrived, but lost on our side: wanted again
  // REJECT, but for answers to our own CANCEL: somebody else is asked, this peer after `retry`.
  void rejected(PeerKey peer, std::span<const PieceRun> pieces, Time now);

  // What to send now. Call after a batch of events, and at next_deadline().
  Decision decide(Time now);
  std::optional<Time> next_deadline() const;
  // Stops asking while our own disk or buffers are behind; the peers' silence is not held against
  // them meanwhile.
  void pause(bool paused);
  // We do not read from this peer now: its silence is not held against it.
  void forgive(PeerKey peer, Time now);

  bool done() const;              // nothing wanted is missing
  std::uint32_t missing() const;  // wanted, not verified
  std::uint64_t outstanding_bytes(PeerKey peer) const;
  double rate_bytes_per_second(PeerKey peer) const;
  std::uint32_t availability(PieceIndex piece) const;  // connected peers that hold it
  bool has_missing(PeerKey peer) const;  // whether it holds any piece that is wanted and missing
  // Wanted missing pieces that no connected peer holds.
  std::uint32_t unavailable() const;

 private:
  class Impl;
  Impl& changing();  // for what may change the next decision

  std::unique_ptr<Impl> impl_;
};

}  // namespace shardswarm
