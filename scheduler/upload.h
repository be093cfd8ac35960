// What to send to whom: the uploading side, one model.
//
// Rules:
//  - a peer may be sent the pieces that it pulled (REQUEST with any = false), and of those that it
//    offered (any = true) further ones as long as its credit is above zero; a chosen offer takes
//    its bytes from the credit, which ends at zero, a pull takes none, and nothing but a CANCEL
//    lowers credit otherwise;
//  - first copies go first: of the pieces that no peer is known to hold and that were never sent,
//    one of the first kFirstCopiesSpread, so that early layers come early, and of two sources each
//    gives others; then the piece that is rarest for those who want it (rarity_class()), what is on
//    its way to a peer counted as held;
//  - leases: a piece given to a taker while nobody else is known to hold it is not given to another
//    peer that is connected to the taker, until a third peer announces it, the taker goes, or the
//    lease's deadline (leases.h: by what taking and passing on usually take) passes. In its first
//    second a peer counts as connected to all: peers that meet at a seed find each other in that
//    time;
//  - a taker that let two leases lapse, less one for each piece that it passed on since, gets a
//    first copy only when nobody else waits for it, or when for a second there was nothing else for
//    it;
//  - requests for a leased piece are answered with REJECT(leased), offers just wait.
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "piece/digest.h"
#include "piece/piece_set.h"
#include "scheduler/download.h"

namespace shardswarm {

struct UploadOptions {
  std::uint64_t seed = 1;
  bool leases = true;
  Duration lease_min = std::chrono::milliseconds(500);
};

class UploadScheduler {
 public:
  UploadScheduler(std::uint32_t pieces, PieceBytes bytes, UploadOptions options);
  ~UploadScheduler();

  void have(std::span<const PieceRun> pieces);  // what this node can send
  void lost(std::span<const PieceRun> pieces);

  void add_peer(PeerKey peer, const NodeId& id, Time now);
  void remove_peer(PeerKey peer);
  void peer_has(PeerKey peer, std::span<const PieceRun> pieces, Time now);
  void peer_lost(PeerKey peer, std::span<const PieceRun> pieces);
  void peer_wants(PeerKey peer, std::span<const PieceRun> pieces);         // replaces
  void peer_connected_to(PeerKey peer, const std::vector<NodeId>& nodes);  // replaces

  struct Refused {
    std::vector<PieceRun> not_here;
    std::vector<PieceRun> leased;
  };
  // REQUEST; what cannot be served is answered at once.
  Refused asked(PeerKey peer, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
                bool any);
  // CANCEL; returns those that were still waiting here (the caller rejects them as cancelled).
  std::vector<PieceRun> withdrawn(PeerKey peer, std::span<const PieceRun> pieces,
                                  std::uint64_t credit_bytes);

  // Ends the leases and presumptions whose time is over. Call at next_deadline(), before choose().
  void expire(Time now);
  // kFirst: only pieces that this node never sent. While any peer may be given such a one, a
  // further copy is an uplink wasted on what others can give.
  enum class Copy : std::uint8_t { kFirst, kAny };
  // The next piece for this peer, taken out of its requests; nothing if it asked for nothing that
  // may be sent now. The caller sends CLAIM and then the piece.
  std::optional<PieceIndex> choose(PeerKey peer, Copy copy, Time now);
  // Chosen, but not sent after all (cancelled, unreadable).
  void unsent(PeerKey peer, PieceIndex piece);
  void sent(PeerKey peer, PieceIndex piece, std::uint32_t bytes, Time now);

  // Whether, since it was last asked, something happened by which choose() may find more for any
  // peer: a lease ended, say. What a peer itself asks for may be chosen at once, and is not meant.
  bool take_freed();
  // When the next lease ends, so that choose() may find more. Pulls that were accepted before their
  // piece was leased to another stay and wait.
  std::optional<Time> next_deadline() const;
  // Pieces that the peer wants and that nobody is known to have brought it: what it does not have,
  // without what it was given here.
  std::uint32_t missing(PeerKey peer) const;
  // Whether the peer still wants a piece that is here.
  bool wants_of_us(PeerKey peer) const;
  // Pieces that some connected peer wants and that only this node is known to hold.
  std::uint32_t only_here() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardswarm
