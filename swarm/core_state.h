// What the core remembers of a connection and of a model. Private to swarm/core*.cc.
#pragma once

#include <algorithm>
#include <deque>

#include "scheduler/rate.h"
#include "scheduler/rate_limit.h"
#include "swarm/core.h"

namespace shardswarm {

// What a link may have on its way out before the socket took it, but for one piece: enough to keep
// the socket busy while the next is read, little enough to stay free in the choice. What goes out
// in kUploadAhead where that is more: making a piece ready that is not cached, or is to be
// encrypted, takes two changes of thread, a millisecond when all cores are busy.
inline constexpr std::uint64_t kUploadBytesAhead = 256 * limits::kKiB;
inline constexpr std::uint64_t kUploadBytesAheadMax = 4 * limits::kMiB;
inline constexpr auto kUploadAhead = std::chrono::milliseconds(2);
// A DATA frame holds up control, and what the kernel has unsent is chosen for good: so long, but a
// system call, and a wake-up, shall move something.
inline constexpr auto kFrameLasts = std::chrono::milliseconds(1);
inline constexpr auto kUnsentLasts = std::chrono::microseconds(500);
inline constexpr std::uint64_t kUnsentBytesMin = 64 * limits::kKiB;
inline constexpr std::uint64_t kUnsentBytesMax = limits::kMiB;
inline constexpr std::size_t kUploadsAheadMax = 64;         // small pieces
inline constexpr auto kRateKept = std::chrono::seconds(1);  // of a link that was sent nothing
// A peer that takes nothing for so long holds up nobody else.
inline constexpr Duration kSlotHeld = std::chrono::milliseconds(200);

inline constexpr Duration kHelloTimeout = std::chrono::seconds(10);
inline constexpr Duration kPingEvery = std::chrono::seconds(10);
inline constexpr Duration kDeadAfter = std::chrono::seconds(30);
// HAVE waits for further pieces, at least so long; see CoreOptions::have_delay_per_peer.
inline constexpr Duration kAnnounceDelayMin = std::chrono::milliseconds(5);
inline constexpr std::uint32_t kAnnounceAtOnce = 64;  // pieces
// Who waits for us to read is forgiven its silence, before the scheduler calls it stalled (5 s).
inline constexpr Duration kForgiveEvery = std::chrono::seconds(2);
// PEERS goes to every neighbour about every neighbour, some 60 bytes an entry: with this at most
// 120 KB/s while neighbours come and go, however many they are, and nothing when none does. Two
// nodes that meet at a third so tell it within 0.8 s at 40 neighbours, before it stops presuming
// that they are connected (scheduler/upload.cc).
inline constexpr Duration kTellPeersEveryPerPair = std::chrono::microseconds(500);
inline constexpr std::size_t kAddressesTold = 2;   // of one neighbour
inline constexpr std::size_t kOthersTold = 16;     // beside the neighbours
inline constexpr std::size_t kVisitorsTold = 128;  // to a visitor in all
inline constexpr std::size_t kDialsMax = 32;       // under way
// A node with neighbours enough that lacks some for one of its models looks through all addresses
// for that, no more often than so.
inline constexpr Duration kDialForFewEvery = std::chrono::seconds(1);
// A fetch without progress waits for so many stall timeouts while a peer answers that it is full:
// the others there end, and leave room, after minutes rather than one.
inline constexpr int kPatience = 10;
// Drops that keep a fetch from counting as stalled are no progress: of blobs so many bytes are.
// Under the lowest upload limit, half of it for blobs, that comes to each of 30 peers in a minute.
inline constexpr std::uint64_t kBlobProgressBytes = 16 * limits::kKiB;
inline constexpr Duration kVisitMax = std::chrono::seconds(2);
// A fetch that has nothing to ask for looks at HAVEs that come in milliseconds; after ten seconds
// it is no passing state. More often would leave neighbours that were about to get something.
inline constexpr Duration kRechooseEvery = std::chrono::seconds(10);
static_assert(limits::kNeighboursMax * kAddressesTold + kOthersTold <= limits::kPeerAddressesMax);
static_assert(kVisitorsTold <= limits::kPeerAddressesMax);
inline constexpr std::size_t kTalliesMax = 1024;
// Models that nobody asked for here: a peer may open so many on a connection, so many of them may
// be learned and served, and their manifests may have so many bytes together.
inline constexpr std::uint32_t kSharedPerLinkMax = 64;
inline constexpr std::size_t kSharedModelsMax = 16;
inline constexpr std::uint64_t kSharedManifestBytesMax = 64 * limits::kMiB;
inline constexpr Duration kSharedLearnTime = std::chrono::seconds(60);
inline constexpr std::size_t kSharedEarlyRunsMax = std::size_t{1} << 16;
// A model of which nothing was found is not looked for again at once.
inline constexpr Duration kNothingSharedFor = std::chrono::seconds(60);
inline constexpr std::size_t kNothingSharedMax = 1024;
inline constexpr std::uint32_t kBlobRequestsPerFetch = 1U << 18;  // their numbers differ by fetch
// Kept of a model's compressed blobs; DeepSeek-V3's headers come to 1.2 MB. Further blobs are sent
// as they are.
inline constexpr std::size_t kCompressedKeptBytesMax = 16 * limits::kMiB;
inline constexpr std::size_t kEarlyRunsMax = std::size_t{1} << 20;

// Bytes that come to keep something of ours busy, rather than to arrive: under 4 KiB/s.
constexpr bool drips(std::uint64_t bytes, Duration elapsed) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(elapsed).count();
  return elapsed >= kDeadAfter && bytes < 4 * limits::kKiB * static_cast<std::uint64_t>(seconds);
}

inline bool contains(std::span<const PieceRun> runs, PieceIndex piece) {
  return std::any_of(runs.begin(), runs.end(), [piece](const PieceRun& run) {
    return piece >= run.first && piece.value - run.first.value < run.count;
  });
}

// A piece on its way to a peer: chosen and claimed, being prepared, or in the session's queue.
struct Core::Upload {
  ModelKey model;
  Channel channel;
  PieceIndex piece;
  std::uint32_t length = 0;
  std::uint32_t sent = 0;  // of it, taken by the transport
  bool prepared = false;
  bool cancelled = false;  // before it was prepared
};

// What a peer may still name of a model: limits::kNamedTimesMax. As the time at which it has all of
// it again, so that nothing need be done meanwhile.
class NamedBudget {
 public:
  // Whether it was kept. `times`: of all pieces of the model, beside those named.
  bool spend(std::span<const PieceRun> named, std::uint32_t times, std::uint32_t pieces, Time now) {
    double spent = 0;
    for (const PieceRun& run : named) spent += run.count;
    spent = spent / std::max(pieces, limits::kNamedPiecesMin) + times;
    constexpr std::chrono::duration<double> kRefill(limits::kNamedRefillSeconds);
    const std::chrono::duration<double> most = kRefill * limits::kNamedTimesMax;
    const std::chrono::duration<double> left = std::max(full_at_, now) - now + spent * kRefill;
    if (left > most) return false;
    full_at_ = now + std::chrono::duration_cast<Duration>(left);
    return true;
  }

 private:
  Time full_at_{};
};

struct Core::LinkModel {
  Channel channel;
  bool introduced = false;     // it is in the schedulers, HAVE and WANT were sent
  PeerTally* tally = nullptr;  // in Model::tallies, meanwhile
  bool answered = false;       // the peer said whether it knows the model
  // What came before our manifest did.
  std::vector<PieceRun> early_have;
  std::vector<PieceRun> early_want;
  std::vector<NodeId> connected_to;
  NamedBudget named{};
  bool told = false;   // PEERS was sent
  bool wants = false;  // its last WANT named pieces
};

// Present when some rate is limited.
struct Core::Limits {
  struct Flow {  // of one direction
    bool on = false;
    TokenBucket bucket;   // the node's
    ConnectionId last{};  // who had the last turn

    void charge(TokenBucket& own, std::uint64_t& paid, std::uint64_t bytes, Time now);
    // give: (Link&) -> bytes of the turn, 0 to who does not wait. Returns the bytes given.
    template <class Links, class Own, class Give>
    std::uint64_t give_turn(Links& links, Own own, ConnectionId& turn, Time now, Give give);
  };

  explicit Limits(const RateLimits& set);

  RateLimits rates;
  Flow up;
  Flow down;
  ConnectionId last_blob{};            // whose blob had the last turn of `up`; `up.last`: piece
  std::int64_t piece_bytes_ahead = 0;  // sent, of pieces beyond those of blobs, while both wait
  std::size_t upload_slots;            // connections with uploads at a time, at most
};

struct Core::Link {
  struct Receiving {
    ModelKey model;
    PieceIndex piece;
    std::uint32_t length = 0;
    std::uint32_t got = 0;
    Time since{};  // when it was accepted
    PieceBuffer buffer;
    bool waiting = false;  // for a buffer, or for the disk
    bool discard = false;
  };

  Link(ConnectionId connection, Session s) : id(connection), session(std::move(s)) {}

  ConnectionId id;
  Session session;
  bool dialed = false;
  std::vector<std::string> dialed_addresses;  // of the book; more than one after a duplicate closed
  std::string address;                        // as dialed, or as observed
  std::vector<std::string> told_addresses;    // for others to dial
  std::optional<NodeId> authenticated;
  std::optional<Hello> hello;  // Ready was seen
  std::optional<Error> error;  // why it ends
  bool close_asked = false;
  std::string closed_why;  // of a connection that this node closes
  bool near = true;        // of our own site
  bool counted = false;    // in Core::neighbours_
  bool visiting = false;   // there is no room for it (swarm/neighbours.h)
  bool told = false;       // of a visiting one: it knows of others now
  Time since{};
  Time ready_at{};  // HELLO came
  Time last_received{};
  Time last_sent{};               // or when there was nothing to send before
  bool idle = true;               // there was nothing to send at the last look
  std::optional<Time> alive_due;  // in Core::alive_dues_; not after the time when it is due
  Time ping_sent{};
  bool ping_pending = false;
  std::uint64_t ping_token = 0;
  std::map<ModelKey, LinkModel> models;
  std::map<Channel, ModelKey> by_channel;
  std::optional<Receiving> receiving;
  std::deque<Upload> uploads;
  bool upload_busy = false;    // see count_ahead()
  bool upload_stuck = false;   // nothing was taken for kSlotHeld: it holds no slot
  bool slot_check = false;     // it is in Core::slot_checks_
  RateMeter upload_rate{};     // as the transport takes it
  Time upload_progress{};      // when something was begun or taken
  ModelKey last_upload_model;  // whose turn was last
  // Rate limits.
  TokenBucket up{0};
  TokenBucket down{0};
  std::uint64_t paid_up = 0;    // bytes taken from the buckets and not yet sent
  std::uint64_t paid_down = 0;  // or not yet read
  bool turn_awaited = false;    // to read
};

struct Core::Model {
  enum class State : std::uint8_t { kLearning, kOpening, kActive };

  ModelKey key;
  ModelId id;
  State state = State::kLearning;
  bool fetching = false;   // a fetch that has not ended
  bool sharing = false;    // nobody asked for it here: served for what other models have of it
  bool finding = false;    // of a shared one: the shell looks for its pieces
  bool left = false;       // of a shared one: perhaps nobody wants anything of it any more
  bool finishing = false;  // all is stored; the store makes it durable
  bool reached = false;    // some peer had the model
  FetchOrder order = FetchOrder::kRarest;
  bool to_peers_changed = false;
  bool newcomers = false;  // neighbours that PEERS was not sent to
  Duration stall_timeout{};
  Time last_progress{};
  Time started{};
  Time wait_until{};                       // until then a source that is not up yet is waited for
  std::uint64_t blob_bytes_uncounted = 0;  // come since they last counted as progress
  Time patient_until{};                    // a peer is full: its room is waited for
  std::optional<Time> nobody_since;        // no peer has the model, and nobody else can be asked
  Time tell_due{};
  Time unannounced_since{};
  std::shared_ptr<const Manifest> manifest;
  std::unique_ptr<ManifestFetch> learning;  // of fetches; kept for its resolved selection
  std::set<FileIndex> looked_for;           // of shared ones: files that peers want pieces of
  std::set<FileIndex> looked_at;            // of these, what was found of them here is known
  std::optional<Time> learning_until;       // of a shared one: else it is given up
  std::uint64_t shared_bytes = 0;           // of a shared one: its manifest, so far as looked for
  std::map<Digest, Blob> compressed;        // null: that blob is sent as it is
  std::size_t compressed_bytes = 0;
  PieceSet have;
  PieceSet wanted;
  PieceSet storing;  // arrived, being verified and written
  PieceSet unannounced;
  PieceSet gone;                                // of fetches: a peer had these and lost them
  std::string gone_from;                        // who was the last
  std::unique_ptr<DownloadScheduler> download;  // of fetches
  std::unique_ptr<UploadScheduler> upload;
  std::uint32_t introduced = 0;  // links on which it is
  std::uint32_t waiting = 0;     // links on which a piece of it waits for room
  std::uint64_t undurable_bytes = 0;
  ModelStatus counters;
  std::map<NodeId, PeerTally> tallies;
  std::set<NodeId> tellers;  // of fetches: who told of others that have to do with it

  std::uint32_t piece_bytes(PieceIndex piece) const { return manifest->extent(piece).length; }
  Time stalled_at() const { return std::max(last_progress + stall_timeout, patient_until); }
  bool is_learning() const {
    return (fetching || sharing) && learning != nullptr && !learning->done();
  }
};

}  // namespace shardswarm
