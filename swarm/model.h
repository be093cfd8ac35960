// A model, as a node's core remembers it. It is seeded, fetched or shared. A shared model is served
// although nobody asked for it here (swarm/shared_models.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include "base/time.h"
#include "piece/load_order.h"
#include "piece/manifest.h"
#include "piece/piece_set.h"
#include "scheduler/download.h"
#include "scheduler/upload.h"
#include "swarm/actions.h"
#include "swarm/announcements.h"
#include "swarm/blobs.h"
#include "swarm/core_options.h"
#include "swarm/manifest_fetch.h"
#include "swarm/patience.h"
#include "swarm/peer_exchange.h"

namespace shardswarm {

struct PeerTally {
  std::string address;
  std::uint64_t fetched_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint32_t connections = 0;
  std::string lost_why;  // why the last connection ended; empty while there is one
};

struct ModelStatus {
  bool learned = false;              // the manifest is known as far as needed
  bool active = false;               // a store is open
  bool ended = false;                // a fetch: complete or failed
  std::uint64_t selected_bytes = 0;  // of the selected tensors and files
  std::uint64_t wanted_bytes = 0;    // of the pieces that hold them
  std::uint64_t present_bytes = 0;   // of the wanted
  std::uint64_t reused_bytes = 0;    // of the present, when the store was opened
  std::uint64_t fetched_bytes = 0;
  std::uint64_t duplicate_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t manifest_bytes = 0;  // of the blobs received, as they came over the wire
  std::uint32_t peers = 0;           // connected, with this model
  std::uint64_t undurable_peak_bytes = 0;
  // Of a fetch: when something came last, and when it gives up if nothing comes until then.
  Time last_progress{};
  Time gives_up_at{};
  // The peer with this model whose last connection ended most recently; nothing if there was none.
  struct Lost {
    std::string address;
    std::string why;
    Time at{};
  };
  std::optional<Lost> lost;
  // Until when a source that is not up yet is waited for, while that goes on.
  std::optional<Time> waits_until;
  // While the manifest is learned: what of it the connected peers do not have; empty if it is not
  // known.
  std::string lacking;
  // Why no peer is connected, where every given address failed the last time it was tried.
  std::string unreachable;
};

struct Seeding {};

struct Fetching {
  enum class Step : std::uint8_t {
    kLearning,   // the manifest, from peers
    kOpening,    // the store
    kFetching,   // pieces come
    kFinishing,  // all are stored; the store makes them durable
    kEnded,      // complete or failed; what came is served
  };
  bool live() const { return step != Step::kEnded; }

  Step step = Step::kLearning;
  FetchOrder order = FetchOrder::kRarest;
  Patience patience;
  std::unique_ptr<ManifestFetch> learning;      // kept for its resolved selection
  std::unique_ptr<DownloadScheduler> download;  // once the store was opened
  PieceSet wanted;
  PieceSet storing;           // arrived, being verified and written
  PieceSet gone;              // a peer had these and lost them
  std::string gone_from;      // who was the last
  bool complete = false;      // all that is wanted was stored
  std::uint32_t waiting = 0;  // connections on which a piece of it waits for room
  std::uint64_t undurable_bytes = 0;
};

struct Sharing {
  bool finding = false;                     // the shell looks for its pieces
  bool left = false;                        // perhaps nobody wants anything of it any more
  std::unique_ptr<ManifestFetch> learning;  // once a peer wants something of it
  std::set<FileIndex> looked_for;           // files that peers want pieces of
  std::set<FileIndex> looked_at;            // of these, what was found of them here is known
  std::optional<Time> learning_until;       // else it is given up
  std::uint64_t manifest_bytes = 0;         // kept of its manifest, so far as looked for
};

struct Model {
  Model(ModelKey k, const ModelId& i, std::variant<Seeding, Fetching, Sharing> r)
      : key(k), id(i), role(std::move(r)) {}

  ModelKey key;
  ModelId id;
  std::variant<Seeding, Fetching, Sharing> role;
  std::shared_ptr<const Manifest> manifest;  // once it is known as far as needed
  PieceSet have;
  std::unique_ptr<UploadScheduler> upload;  // once there is something to serve
  std::uint32_t introduced = 0;             // connections on which it is
  ModelStatus counters;
  std::map<NodeId, PeerTally> tallies;
  AnnouncementRecord announcements;
  BlobRecord blobs;
  ExchangeRecord exchange;

  // From now on it serves `have`, and a fetch asks for what is missing.
  void activate(const CoreOptions& options, const PieceSet& pieces);

  // REQUIRES: it is a fetch, ended or not.
  Fetching& fetching() { return std::get<Fetching>(role); }
  const Fetching& fetching() const { return std::get<Fetching>(role); }
  // Null unless it is a fetch that has not ended.
  Fetching* live_fetch();
  const Fetching* live_fetch() const { return const_cast<Model*>(this)->live_fetch(); }
  Sharing* sharing() { return std::get_if<Sharing>(&role); }
  const Sharing* sharing() const { return std::get_if<Sharing>(&role); }
  // Null unless its manifest is being learned.
  ManifestFetch* learning() const;
  // What is known of its manifest; null before the root.
  std::shared_ptr<const Manifest> known_manifest() const;
  std::uint32_t piece_bytes(PieceIndex piece) const { return manifest->extent(piece).length; }
};

// Requests for blobs are numbered from a model's key times this: answers to those of a model that
// was here before match none.
inline constexpr std::uint32_t kBlobRequestsPerModel = 1U << 18;

// The models of a node.
class Models {
 public:
  using Table = std::map<ModelKey, std::unique_ptr<Model>>;

  Model& add(const ModelId& id, std::variant<Seeding, Fetching, Sharing> role);
  void erase(ModelKey key);
  Model* find(ModelKey key);
  const Model* find(ModelKey key) const { return const_cast<Models*>(this)->find(key); }
  Model* find(const ModelId& id);
  ModelKey next_key() const { return ModelKey(next_); }

  Table::const_iterator begin() const { return models_.begin(); }
  Table::const_iterator end() const { return models_.end(); }

 private:
  Table models_;
  std::map<ModelId, ModelKey> by_id_;
  std::uint32_t next_ = 1;
};

}  // namespace shardswarm
