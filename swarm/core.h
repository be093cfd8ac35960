// The core of a node: joins sessions, schedulers and storage events. A state machine without I/O:
// it is told what happened (bytes came, a piece was verified, time passed) and answers with
// actions.
//
// Drive it so: call the event functions; then settle(now); then carry out take_actions(), move
// bytes for the connections in take_output_ready(), and call settle() again at next_deadline().
// Not thread-safe: one network thread (or a simulator) drives it. Time and randomness are handed
// in; the buffer pool is shared with the storage that writes from it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/buffer_pool.h"
#include "base/flat_map.h"
#include "base/limits.h"
#include "piece/load_order.h"
#include "piece/selection.h"
#include "scheduler/download.h"
#include "scheduler/rate_limit.h"
#include "scheduler/upload.h"
#include "scheduler/upload_slots.h"
#include "swarm/address_book.h"
#include "swarm/manifest_fetch.h"
#include "swarm/neighbours.h"
#include "wire/session.h"

namespace shardswarm {

using ConnectionId = PeerKey;
using ModelKey = StrongIndex<struct ModelKeyTag>;

namespace action {
struct Dial {
  std::string address;
};  // answer: add_connection, or dial_failed
// Flush what is queued, then close the transport and call remove_connection.
struct CloseConnection {
  ConnectionId connection;
};
// The manifest is known as far as the fetch needs it. Open a store and call store_opened, or
// fetch_failed. For a learning fetch nothing further happens.
struct ManifestReady {
  ModelKey model;
};
// Verify and write; answer: piece_stored.
struct StorePiece {
  ModelKey model;
  PieceIndex piece;
  PieceBuffer buffer;
  ConnectionId from;
};
// Make ready to be sent on this connection; answer: piece_prepared.
struct PreparePiece {
  ConnectionId connection;
  ModelKey model;
  PieceIndex piece;
  std::uint32_t length = 0;
};
struct ReleasePiece {
  ConnectionId connection;
  ModelKey model;
  PieceIndex piece;
};
// Every wanted piece is stored: make it durable under its final names; answer: store_finished.
struct FinishStore {
  ModelKey model;
};
struct FetchEnded {
  ModelKey model;
  std::optional<Error> error;
};
// Which of these pieces do other models of this machine have? Open them and call shared_found.
struct FindShared {
  ModelKey model;
  PieceSet pieces;
};
struct ShareEnded {
  ModelKey model;
};
struct Log {
  bool warning = false;
  std::string text;
};
}  // namespace action

using Action =
    std::variant<action::Dial, action::CloseConnection, action::ManifestReady, action::StorePiece,
                 action::PreparePiece, action::ReleasePiece, action::FinishStore,
                 action::FetchEnded, action::FindShared, action::ShareEnded, action::Log>;

struct CoreOptions {
  Hello hello;
  std::uint64_t seed = 1;  // of all randomness
  bool share = false;      // serve models that nobody asked for here, for what others have of them
  bool insecure = false;   // it was started so: whom a key refuses is told to leave that out
  // Neighbours that a node looks for; it takes half as many more (swarm/neighbours.h).
  std::uint32_t degree = limits::kDegree;  // 2 to kDegree
  // HAVE goes to every neighbour. The pieces that came within this time, taken once for each
  // neighbour, go in one: a node sends no more than 4,000 a second however many neighbours it has,
  // and with few neighbours a piece is told at once. At 64 neighbours 1 ms, 16
  // times fewer HAVEs than pieces, costs 3 % of the makespan.
  Duration have_delay_per_peer = std::chrono::microseconds(250);
  DownloadOptions download;
  UploadOptions upload;
  RateLimits limits;
};

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
  // The peer with this model whose last connection ended most recently; empty if there was none.
  std::string lost_address;
  std::string lost_why;
  Time lost_at{};
  // Until when a source that is not up yet is waited for, while that goes on.
  std::optional<Time> waits_until;
  // While the manifest is learned: what of it the connected peers do not have; empty if it is not
  // known.
  std::string lacking;
  // Why no peer is connected, where every given address failed the last time it was tried.
  std::string unreachable;
};

class Core {
 public:
  Core(CoreOptions options, BufferPool& buffers);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Before the first connection.
  // `advertised`: empty when peers are to take the address that they see.
  void set_listening(std::uint16_t port, std::vector<std::string> advertised) {
    options_.hello.listen_port = port;
    options_.hello.advertised = std::move(advertised);
  }

  // --- models ---
  // kBusy if this model is here already.
  Result<ModelKey> add_seed(std::shared_ptr<const Manifest> manifest, const PieceSet& have,
                            Time now);
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
  // kBusy if this model is here already; kUsage if `kept` tells that the selection does not fit.
  Result<ModelKey> add_fetch(FetchRequest request, Time now);
  // Addresses to dial, all of one node: where one of them is refused and the others do not answer,
  // that node is given up.
  void add_node(const std::vector<std::string>& addresses, Time now);
  void add_address(const std::string& address, Time now) { add_node({address}, now); }
  // `wanted`: pieces that the store needs beside the selection's. `kept_back`: pieces of the
  // selection that it does not take, since somebody changed their files.
  void store_opened(ModelKey model, const PieceSet& have, const PieceSet& wanted,
                    const PieceSet& kept_back, Time now);
  void fetch_failed(ModelKey model, Error error, Time now);
  void store_finished(ModelKey model, Time now);
  // `have`: all that was found of it so far.
  void shared_found(ModelKey model, const PieceSet& have, Time now);
  void remove_model(ModelKey model);
  std::shared_ptr<const Manifest> manifest(ModelKey model) const;  // null before the root
  const ResolvedSelection& resolved(ModelKey model) const;         // REQUIRES: ManifestReady
  const Outline& outline(ModelKey model) const;                    // REQUIRES: ManifestReady
  ModelStatus status(ModelKey model) const;
  const std::map<NodeId, PeerTally>& tallies(ModelKey model) const;
  // Nothing is being sent, and no connected peer wants a piece that only this node holds.
  bool may_leave(ModelKey model) const;
  std::uint64_t control_bytes() const { return control_bytes_; }
  // Connections that stand, without visitors: at most 1.5 x CoreOptions::degree.
  std::uint32_t neighbours() const { return neighbours_; }

  // --- storage ---
  void piece_stored(ModelKey model, PieceIndex piece, ConnectionId from, std::uint32_t length,
                    Result<void> result, Time now);
  void piece_prepared(ConnectionId connection, ModelKey model, PieceIndex piece, bool ok);
  // Some could not be read any more: `have` are left.
  void pieces_lost(ModelKey model, const PieceSet& have);
  // Received and not durable yet; reading pauses above limits::kUndurableBytesMax.
  void undurable(ModelKey model, std::uint64_t bytes, Time now);

  // --- connections ---
  void add_connection(ConnectionId connection, std::string address, bool dialed,
                      std::optional<NodeId> authenticated, Time now);
  // The error's message names the address.
  void dial_failed(const std::string& address, Error error, Time now);
  // Returns why the connection ended if that was before the peer's HELLO.
  std::optional<Error> remove_connection(ConnectionId connection, std::optional<Error> error,
                                         Time now);
  // Whether there is such a connection still.
  bool has_connection(ConnectionId connection) const { return links_.contains(connection); }
  // Of several connections: first receive_spans() of all, without another call between them; then
  // fill them; then received() of all. One may close another, whose bytes are then ignored.
  std::array<std::span<std::byte>, 2> receive_spans(ConnectionId connection);
  void received(ConnectionId connection, std::size_t bytes, Time now);
  // Stands until sent(), whatever is called for others meanwhile.
  Output next_output(ConnectionId connection);
  void sent(ConnectionId connection, std::size_t bytes, Time now);
  bool closing(ConnectionId connection) const;
  // Bytes that the transport should hold and not have sent, at most: that long the choice of the
  // next piece stays open.
  std::uint64_t unsent_max(ConnectionId connection);
  ModelKey model_of(ConnectionId connection, Channel channel) const;
  void close_all(CloseReason reason);

  // --- answers ---
  void settle(Time now);
  std::vector<Action> take_actions();
  FlatSet<ConnectionId> take_output_ready();  // may have something to send, or room to receive
  std::optional<Time> next_deadline() const;

 private:
  struct Link;
  struct LinkModel;
  struct Model;
  struct Upload;
  struct Limits;

  // core.cc
  Link* find_link(ConnectionId connection);
  const Link* find_link(ConnectionId connection) const;
  Model* find_model(ModelKey key);
  const Model* find_model(ModelKey key) const;
  Model* find_model(const ModelId& id);
  void close_link(Link& link, CloseReason reason, std::string_view text);
  void protocol_error(Link& link, std::string_view text);
  void ban(Link& link, std::string_view why);
  void watch_links(Time now);
  void keep_alive(Link& link, Time now);
  void set_alive_due(Link& link);
  void log(bool warning, std::string text);

  // core_events.cc: what a peer said
  void drain(Link& link, Time now);
  Model* model_of(Link& link, Channel channel);
  Blob compressed(Model& model, const Digest& digest, const Blob& blob);
  bool within(Link& link, const Model& model, std::span<const PieceRun> pieces);
  bool may_name(Link& link, const Model& model, std::span<const PieceRun> pieces,
                std::uint32_t times, Time now);
  void on(Link& link, event::Ready&& e, Time now);
  void on(Link& link, event::Opened&& e, Time now);
  void on(Link& link, event::UnknownModel&& e, Time now);
  void on(Link& link, event::Have&& e, Time now);
  void on(Link& link, event::Lost&& e, Time now);
  void on(Link& link, event::Want&& e, Time now);
  void on(Link& link, event::Request&& e, Time now);
  void on(Link& link, event::Claim&& e, Time now);
  void on(Link& link, event::Cancel&& e, Time now);
  void on(Link& link, event::Reject&& e, Time now);
  void on(Link& link, event::PieceBegin&& e, Time now);
  void on(Link& link, event::PieceBytes&& e, Time now);
  void on(Link& link, event::PieceEnd&& e, Time now);
  void on(Link& link, event::PieceSent&& e, Time now);
  void on(Link& link, event::BlobRequest&& e, Time now);
  void on(Link& link, event::BlobChunk&& e, Time now);
  void on(Link& link, event::BlobReject&& e, Time now);
  void on(Link& link, event::Peers&& e, Time now);
  void on(Link& link, event::Pong&& e, Time now);
  void on(Link& link, event::Closed&& e, Time now);
  void on(Link& link, event::Failed&& e, Time now);

  // core_model.cc: lives of models
  void open_on(Link& link, Model& model);
  void meet_everybody(Model& model, Time now);
  void introduce(Link& link, Model& model, LinkModel& at, Time now);
  void part(Link& link, Model& model, LinkModel& at, std::string_view why, Time now);
  void learn(Model& model, Time now);
  void manifest_known(Model& model);
  void activate(Model& model, const PieceSet& have);
  void check_complete(Model& model);
  Duration announce_delay(const Model& model) const;
  void announce(Model& model, Time now);

  // core_stalled.cc: fetches that get on no more
  static std::string name_of(const Link& link);
  bool denies(const Link& link, const Model& model) const;
  std::string lacking(const Model& model) const;
  static void note_gone(const Link& link, Model& model, std::span<const PieceRun> pieces);
  bool nobody_has(Model& model, Time now);
  static std::optional<Time> nobody_due(const Model& model);
  bool awaits_source(const Model& model) const;
  Error unreached_error(const Model& model, Time now) const;
  Error stalled_error(const Model& model, Time now) const;
  bool waits_for_room(Model& model, Time now);
  void check_stalled(Model& model, Time now);

  // core_neighbours.cc: with whom to be connected
  bool is_neighbour(const Link& link) const;
  void count_neighbour(Link& link);
  std::size_t share_of_fetch() const;
  std::size_t neighbours_of(const Model& model) const;
  std::size_t neighbours_missing() const;
  std::size_t dials_most() const;
  std::size_t near_missing() const;
  void dial_due(Time now);
  std::optional<Time> next_dial() const;
  void found_full(Link& link, Time now);
  void take_in(Link& link, Time now);
  std::optional<ConnectionId> spare_neighbour();
  std::vector<Neighbour> all_neighbours(Time now) const;
  bool has_for_us(const Link& link, const Model& model) const;
  bool has_for_us(const Link& link) const;
  bool starved(const Model& model) const;
  bool wants_of_us(const Link& link) const;
  void leave(Link& link, Time now);
  void remember(const Link& link, Time now);
  void end_visit(Link& link, Time now);
  void choose_again(Time now);
  std::vector<PeerAddress> told_of(const Model& model, std::size_t others, Time now);
  void tell_visitor(Link& link, const Model& model, Channel channel, Time now);
  void tell_peers(Model& model, Time now);

  // core_share.cc: models that nobody asked for here
  Model* add_shared(Link& link, const ModelId& id, Time now);
  void wanted_of_shared(Model& model, std::span<const PieceRun> pieces);
  void look_for(Model& model, std::span<const PieceRun> pieces);
  void learn_shared(Model& model, std::vector<FileIndex> files);
  bool admit_shared(Model& model, std::uint64_t bytes);
  void look_on(Model& model);
  void shared_manifest_known(Model& model, Time now);
  void end_shared(ModelKey key, bool nothing_found, Time now);
  void end_shared_of(const ModelId& id, Time now);
  void end_left_shared(Time now);

  // core_transfer.cc: pieces in and out
  void accept_waiting(Time now);
  bool try_accept(Link& link, Time now);  // whether it is accepted
  void set_waiting(Link& link, bool waiting);
  void end_receive(Link& link, bool wasted);
  void give_up_receive(Link& link);
  void ask(Model& model, Time now);

  // core_upload.cc: pieces out
  void pump_uploads(Time now);
  std::vector<ConnectionId> uploads_in_turn();
  std::vector<ConnectionId> uploads_by_need(std::span<const ConnectionId> in_turn);
  // Whether somebody got a piece.
  bool give_upload(std::span<const ConnectionId> order, UploadScheduler::Copy copy, Time now);
  bool begin_upload(Link& link, UploadScheduler::Copy copy, Time now);
  void count_ahead(Link& link);
  static std::uint64_t taken_in(const Link& link, Duration time);
  void check_slots(Time now);
  std::size_t upload_slots() const;
  void extent_sent(Link& link, const OutputExtent& extent, std::size_t bytes, Time now);
  void erase_upload(Link& link, const std::deque<Upload>::iterator& upload);
  void drop_upload(Link& link, const Upload& upload);

  // core_limits.cc: rate limits
  void set_limits();
  void limit(Link& link);
  bool reads_at_once(const Link& link) const;
  std::array<std::span<std::byte>, 2> limited(Link& link,
                                              std::array<std::span<std::byte>, 2> spans);
  void charge_received(Link& link, std::size_t bytes, Time now);
  void charge_sent(Link& link, std::size_t bytes, Time now);
  void give_upload_turns(std::uint32_t frame, Time now);
  void give_turns(Time now);
  void forgive_waiting(Link& link, Time now);
  std::optional<Time> next_turn() const;

  CoreOptions options_;
  BufferPool& buffers_;
  FlatMap<ConnectionId, Link> links_;
  Link* last_found_ = nullptr;  // by find_link(): many calls are for the same link as the last
  std::map<ModelKey, std::unique_ptr<Model>> models_;
  std::map<ModelId, ModelKey> model_by_id_;
  std::map<NodeId, ConnectionId> link_by_node_;
  std::map<ModelId, Time> nothing_shared_;  // since when
  std::set<NodeId> banned_;
  AddressBook addresses_;
  Acquaintances acquaintances_;
  std::uint32_t neighbours_ = 0;       // links with Link::counted
  std::uint32_t near_neighbours_ = 0;  // of these, near ones
  bool neighbours_changed_ = true;     // or the fetches: neighbours_missing_ is out of date
  std::size_t neighbours_missing_ = 0;
  Time dial_for_few_due_{};  // see dial_due()
  std::mt19937_64 random_;
  std::optional<Time> rechoose_due_;
  FlatSet<ConnectionId> output_ready_;
  // What settle() looks at, so that it costs what changed rather than what is connected: links that
  // were in output_ready_ since the last one; that wait for room to receive a piece; by the time
  // when keep_alive() is due at the latest.
  FlatSet<ConnectionId> touched_;
  FlatSet<ConnectionId> waiting_;
  std::set<std::pair<Time, ConnectionId>> alive_dues_;
  std::vector<Action> actions_;
  std::uint64_t control_bytes_ = 0;
  std::uint32_t next_model_ = 1;
  std::uint32_t next_given_node_ = 1;
  std::unique_ptr<Limits> limits_;
  FlatSet<ConnectionId> uploads_due_;                    // links that may be sent something further
  ConnectionId last_upload_;                             // whose turn was last
  bool need_is_next_ = true;                             // who needs most, or whose turn it is
  std::size_t busy_uploads_ = 0;                         // links with Link::upload_busy
  std::set<std::pair<Time, ConnectionId>> slot_checks_;  // of these: whether they get on
  UploadSlots slots_;
};

}  // namespace shardswarm
