// What to send to whom: the uploading side, one model.
//
// Rules:
//  - of what a peer asked for and its credit allows, the piece that this node has sent least often
//    goes first (never sent: in ascending order, so early layers come first);
//  - leases: a piece given to a taker while nobody else is known to hold it is not given to a second
//    peer that is connected to the taker, until a third peer announces it, the taker goes, or the
//    lease's deadline (twice the expected time, at least lease_min) passes; a taker that lets two
//    leases lapse gets no more first copies before others. Explicit requests for a leased piece are
//    answered with REJECT(leased), offers just wait.
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "piece/digest.h"
#include "piece/ids.h"
#include "piece/piece_set.h"
#include "scheduler/download.h"
#include "scheduler/time.h"

namespace shardswarm {

struct UploadOptions {
  bool leases = true;
  Duration lease_min = std::chrono::milliseconds(500);
};

class UploadScheduler {
 public:
  UploadScheduler(std::uint32_t pieces, PieceBytes bytes, UploadOptions options);
  ~UploadScheduler();

  void have(std::span<const PieceRun> pieces);  // what this node can send
  void lost(std::span<const PieceRun> pieces);

  void add_peer(PeerKey peer, const NodeId& id);
  void remove_peer(PeerKey peer, Time now);
  void peer_has(PeerKey peer, std::span<const PieceRun> pieces, Time now);
  void peer_wants(PeerKey peer, std::span<const PieceRun> pieces);  // replaces
  void peer_connected_to(PeerKey peer, std::vector<NodeId> nodes);  // replaces

  struct Refused {
    std::vector<PieceRun> not_here;
    std::vector<PieceRun> leased;
    std::vector<PieceRun> busy;  // over kCreditBytesMax
  };
  // REQUEST; what cannot be served is answered at once.
  Refused asked(PeerKey peer, std::span<const PieceRun> pieces, std::uint64_t credit_bytes,
                bool any, Time now);
  // CANCEL; returns those that were still waiting here (the caller rejects them as cancelled).
  std::vector<PieceRun> withdrawn(PeerKey peer, std::span<const PieceRun> pieces,
                                  std::uint64_t credit_bytes);

  // The next piece for this peer, taken out of its requests and its credit; nothing if it asked for
  // nothing that may be sent now. The caller sends CLAIM and then the piece.
  std::optional<PieceIndex> choose(PeerKey peer, Time now);
  // Chosen, but not sent after all (cancelled, unreadable).
  void unsent(PeerKey peer, PieceIndex piece);
  void sent(PeerKey peer, PieceIndex piece, std::uint32_t bytes, Time now);

  // When a lease ends, so that choose() may find more. Explicit requests that were accepted before
  // their piece was leased to another stay and wait.
  std::optional<Time> next_deadline() const;
  // Pieces that some connected peer wants and that only this node is known to hold.
  std::uint32_t only_here() const;
  bool idle() const;  // no peer has credit and a piece waiting

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardswarm
