// The life of a fetch: its manifest is learned, its store is opened, pieces come and are stored,
// and it ends, complete or not. What came is served from then on.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "base/time.h"
#include "piece/load_order.h"
#include "piece/manifest.h"
#include "piece/selection.h"
#include "swarm/actions.h"
#include "swarm/manifest_fetch.h"

namespace shardswarm {

struct Context;
struct Model;
class Meetings;
class Neighbourhood;

struct FetchRequest {
  ModelId id;
  Selection selection;
  ManifestFetch::Until until = ManifestFetch::Until::kPieceLists;
  // The fetch ends after this time without progress, or ten times this time while a peer is full.
  Duration stall_timeout{};
  // While no peer was reached, the fetch ends after this time at the earliest.
  Duration wait{};
  std::shared_ptr<const Manifest> kept;  // what this machine knows of it already; may be null
  FetchOrder order = FetchOrder::kRarest;
};

class Fetches {
 public:
  Fetches(Context& context, Meetings& meetings, Neighbourhood& neighbourhood)
      : context_(context), meetings_(meetings), neighbourhood_(neighbourhood) {}

  // REQUIRES: the model is not here. kUsage if `kept` tells that the selection does not fit.
  Result<ModelKey> add(FetchRequest request, Time now);

  // --- REQUIRES: the fetch has not ended ---
  void manifest_known(Model& model);
  void store_opened(Model& model, const PieceSet& have, const PieceSet& wanted,
                    const PieceSet& kept_back, Time now);
  // Asks that the store be finished, once all is stored.
  void check_complete(Model& model);
  void fail(Model& model, Error error);
  void finished(Model& model, Time now);

  // A piece was stored, or could not be. The fetch may have ended meanwhile.
  void piece_stored(Model& model, PieceIndex piece, ConnectionId from, std::uint32_t length,
                    const Result<void>& result, Time now);
  void undurable(Model& model, std::uint64_t bytes, Time now);

 private:
  void end(Model& model);

  Context& context_;
  Meetings& meetings_;
  Neighbourhood& neighbourhood_;
};

}  // namespace shardswarm
