// The public API: one peer in a process.
//
//   auto node = shardswarm::Node::start({.key = "cluster.key"}).value();
//   auto fetch = node->fetch(shardswarm::Ticket::parse(text).value(),
//                            {.directory = "llama", .selection = {.layers = {{8, 15}}}});
//   auto outcome = fetch->wait();   // Result<FetchReport>
//
// Threads: a Node owns one network thread, its helpers, and the workers of its storage. All
// functions here may be called from any thread. Callbacks run on the network thread: they must be
// short, and must not call wait() or destroy the Node; SIGPIPE is blocked there. Destroying a
// handle does not stop what it stands for; destroying the Node stops everything (as cancel() and
// then wait() of each would). Of a handle that outlives its Node only Fetch::progress() and
// Fetch::wait() may be called.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "identity/cluster_key.h"
#include "piece/digest.h"
#include "piece/file_roles.h"
#include "piece/load_order.h"
#include "piece/selection.h"
#include "scheduler/rate_limit.h"
#include "scheduler/rules.h"
#include "storage/io_engine.h"
#include "storage/store.h"

namespace shardswarm {

// "shardswarm://HOST:PORT[,HOST:PORT...]/<64 hex digits>": which model, and where a node is that
// has it. spec/ticket.md has the grammar, and the older forms that parse() takes.
struct Ticket {
  ModelId id;
  std::vector<std::string> peers;  // HOST:PORT; of one node, as a seed makes it

  // kUsage, saying what is wrong and what a ticket looks like. A bare id is a ticket with no peers.
  static Result<Ticket> parse(std::string_view text);
  // Has no character that a shell takes for something else.
  std::string to_string() const;
};

// The addresses that a person means by HOST, HOST:PORT, HOST:PORT/ID or a whole ticket, to fetch
// model `id` from. kUsage, also for a ticket of another model.
Result<std::vector<std::string>> peer_addresses(std::string_view text, const ModelId& id);

inline constexpr unsigned kNetworkThreadsMax = 64;

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

struct NodeOptions {
  // HOST:PORT, HOST or :PORT; port 0 for any. Without a host: all addresses with a key or when
  // insecure, else 127.0.0.1 and ::1. Without a port: the first free one of 17976 to 17991, else
  // any. transport/listener.h has the details.
  std::string listen;
  bool leave_default_port = false;     // begins at 17977, for a node that only fetches
  std::vector<std::string> advertise;  // addresses told to others instead of the listening one
  // Where this node is: a rack, a room, "fra/rack1". Pieces come from nodes with the same label
  // where they can. Letters, digits, '.', '_', '-', '/'; at most 64. Empty: no label.
  std::string site;
  // Cluster key: a file, or the text of a key. Empty: what SHARDSWARM_KEY names or holds, then
  // $XDG_CONFIG_HOME/shardswarm/cluster.key if it exists; else no key (identity/cluster_key.h).
  std::string key;
  bool insecure = false;                  // plaintext, beyond loopback too
  bool kernel_tls = true;                 // the kernel encrypts what is sent, if it can
  std::filesystem::path state_directory;  // empty: $XDG_STATE_HOME/shardswarm
  EngineKind io = EngineKind::kAuto;
  // That may move bytes of several connections at once: up to kNetworkThreadsMax, the network
  // thread among them; the others start when there is much to move. 0: one for every four cores, at
  // most 8.
  unsigned network_threads = 0;
  bool share = true;  // serve peers that want another model what this machine's models have of it
  RuleSet rules = RuleSet::kLateBinding;  // others are for comparing
  RateLimits limits;  // each 0 (none) or at least RateLimits::kRateMin, else start() gives kUsage
  // TCP's, of all connections: a name that the kernel knows, else start() gives kUsage; "system":
  // the system's. Empty: the system's, but not BBR on the local network (transport/congestion.h).
  std::string congestion_control;
  std::function<void(LogLevel, std::string_view)> log;  // any thread; empty: silent
};

struct PeerReport {
  NodeId id;
  std::string address;
  std::uint64_t fetched_bytes = 0;  // piece payload from it
  std::uint64_t sent_bytes = 0;     // piece payload to it
  bool connected = false;
};

enum class FetchPhase : std::uint8_t {
  kConnecting,
  kManifest,
  kChecking,
  kFetching,
  kFinishing,
  kDone,
  kFailed
};

struct FetchProgress {
  FetchPhase phase = FetchPhase::kConnecting;
  std::uint64_t wanted_bytes = 0;   // of the pieces that hold the selection; 0 until it is known
  std::uint64_t present_bytes = 0;  // of these, verified and written; never goes down
  std::uint64_t fetched_bytes = 0;  // piece payload received, duplicates included
  double bytes_per_second = 0;      // over the last three seconds
  std::uint32_t peers = 0;          // connected
  // While pieces or the manifest are waited for: seconds since something came, and seconds until
  // the fetch gives up if nothing comes. 0 otherwise.
  double stalled_seconds = 0;
  double gives_up_seconds = 0;
  // How long a source that is not up yet will still be waited for (FetchOptions::wait); 0 when
  // none is waited for.
  double wait_seconds = 0;
  // While the manifest is waited for: what of it the connected peers do not have, as a clause of a
  // sentence. Empty if it is not known.
  std::string lacking;
  // Why no peer is connected, if every address that was given failed the last time it was tried.
  std::string unreachable;
  // The peer that was lost last, why, and how many seconds ago. Empty if none was.
  std::string lost_address;
  std::string lost_why;
  double lost_seconds = 0;
};

// What happens in a fetch beside its progress.
struct FetchEvent {
  enum class Kind : std::uint8_t {
    kPeerJoined,  // a peer with this model is connected
    kPeerLost,    // its last connection ended
    kFileDone,    // a file is complete and durable, and has its final name
  };
  Kind kind = Kind::kPeerJoined;
  NodeId peer{};        // of peers
  std::string address;  // of peers
  std::string reason;   // why the peer was lost
  std::string path;     // of files, below the directory
};

// Where memory went, each part with what bounds it. Page cache is not part of it.
struct MemoryReport {
  std::uint64_t peak_private_bytes = 0;  // anonymous resident memory of the process, sampled
  std::uint64_t pool_bytes_max = 0;      // all buffers for pieces on their way in and out
  std::uint64_t pool_peak_bytes = 0;     // of these, used at most
  // Received and not durable: in buffers and, when written, in the page cache.
  std::uint64_t undurable_bytes_max = 0;
  std::uint64_t undurable_peak_bytes = 0;
  std::uint64_t piece_state_bytes_max = 0;  // of this model, with the peers that it had
  std::uint64_t manifest_bytes = 0;         // root, headers and piece lists as they are kept
};

struct FetchReport {
  ModelId id;
  double seconds = 0;
  std::uint64_t selected_bytes = 0;   // of the selected tensors and files
  std::uint64_t wanted_bytes = 0;     // of the pieces that hold them: more where slices cut them
  std::uint64_t fetched_bytes = 0;    // all piece payload received
  std::uint64_t duplicate_bytes = 0;  // of these, pieces that were here already or came twice
  std::uint64_t control_bytes = 0;    // all else that the node received and sent since its start
  std::uint64_t manifest_bytes = 0;   // of these, the model's manifest as it was received
  std::uint64_t reused_bytes = 0;     // present before: not fetched
  std::uint64_t copied_bytes = 0;     // of these, from other directories of this machine
  std::uint64_t sent_bytes = 0;       // piece payload sent to others
  MemoryReport memory;
  Layout layout = Layout::kOriginal;
  EngineReport engine;
  unsigned network_threads = 1;        // started to move bytes, since the node's start
  std::vector<std::string> addresses;  // where this node serves it from now on
  std::vector<PeerReport> peers;
  Selection parts;             // what was fetched, a preset written out as layers
  std::string engine_setting;  // see ResolvedSelection
  LeftOutReport left_out;      // files of the model that it does not bring, with the reason of each
};

struct FetchOptions {
  std::filesystem::path directory;
  Selection selection;
  std::optional<Layout> layout;  // nothing: as the directory is; else original or compact
  FetchOrder order = FetchOrder::kRarest;
  bool reuse = true;  // take equal pieces from other directories of this machine
  // Hash what is here again and bring what is wrong. Plain files that somebody edited stay as they
  // are, and a warning names them.
  bool recheck = false;
  std::vector<std::string> peers;  // beside the ticket's; as peer_addresses() takes them
  std::chrono::milliseconds stall_timeout{60'000};  // without any progress: kStalled/kUnreachable
  // For a source that is not up yet: as long as no peer was reached, a fetch goes on trying for
  // this time at least before it ends with kUnreachable. What waiting cannot mend ends it at once.
  std::chrono::milliseconds wait{0};
  std::function<void(const FetchProgress&)> on_progress;  // about ten times a second
  std::function<void(const FetchEvent&)> on_event;        // at most a tenth of a second late
};

struct SeedOptions {
  std::filesystem::path directory;
  std::function<void(std::uint64_t done, std::uint64_t total)> index_progress;  // any thread
  const std::atomic<bool>* cancel = nullptr;  // set while it indexes: ends soon with kCancelled
};

struct FetchPlan {  // of a dry run
  std::uint64_t selected_bytes = 0;
  std::uint64_t wanted_bytes = 0;
  std::uint64_t here_bytes = 0;       // of the wanted, in the directory already
  std::uint64_t elsewhere_bytes = 0;  // of the rest, in other directories of this machine
  // On the disk, for what is not in the directory yet: what it takes, and what is free; nothing
  // where that cannot be told. With less a fetch ends with kNoSpace before anything is fetched.
  std::uint64_t needed_bytes = 0;
  std::optional<std::uint64_t> free_bytes;
  std::uint64_t manifest_bytes = 0;  // received to tell this, as it came
  std::uint32_t pieces = 0;
  std::uint32_t tensors = 0;
  std::vector<std::string> files;
  Selection parts;             // what would be fetched, a preset written out as layers
  std::string engine_setting;  // see ResolvedSelection
  LeftOutReport left_out;      // files of the model that it does not bring, with the reason of each
};

class Fetch {
 public:
  virtual ~Fetch() = default;
  virtual FetchProgress progress() const = 0;
  // Ends soon; what came so far stays and a later fetch takes it up. wait() then gives kCancelled.
  // Ends a linger() under way, too.
  virtual void cancel() = 0;
  // Blocks until the selection is verified and durable under its final names, or failed. The node
  // goes on serving it (see linger()).
  virtual Result<FetchReport> wait() = 0;
  // Blocks, still serving: until uploads under way have ended and no connected peer wants a piece
  // that only this node holds, at most `handover`; and in any case for `linger`
  // (milliseconds::max(): until cancel()).
  virtual void linger(std::chrono::milliseconds handover, std::chrono::milliseconds linger) = 0;
};

class Seed {
 public:
  virtual ~Seed() = default;
  virtual const Ticket& ticket() const = 0;
  virtual std::uint64_t present_bytes() const = 0;  // of total_bytes()
  virtual std::uint64_t total_bytes() const = 0;
  virtual std::vector<PeerReport> peers() const = 0;
  virtual std::uint64_t sent_bytes() const = 0;
};

class Node {
 public:
  // Opens the listening sockets. kPermission/kIo for the sockets, kMalformed for the key, kRefused
  // when there is none where it is said to be, and for a listening address beyond loopback with
  // neither key nor `insecure`; kUsage for an advertised address that nobody could dial.
  static Result<std::unique_ptr<Node>> start(NodeOptions options);
  virtual ~Node() = default;

  virtual NodeId id() const = 0;
  // Where it listens, as told to peers: advertised, else the bound address, else for a wildcard
  // every usable address of the machine.
  virtual std::vector<std::string> addresses() const = 0;
  // Sentences for the operator of a seed, each with the next step: that the usual port is taken, or
  // that no other machine can reach these addresses, and why. Often none.
  virtual std::vector<std::string> notes() const = 0;

  // Serves a directory: one that was fetched (whole or partial), or any other, which is indexed
  // first if it was not yet or has changed since. Blocks while it indexes.
  virtual Result<std::shared_ptr<Seed>> seed(SeedOptions options) = 0;
  // Starts fetching. Errors come from wait().
  virtual std::shared_ptr<Fetch> fetch(const Ticket& ticket, FetchOptions options) = 0;
  // Learns the manifest from the peers and says what a fetch would move; writes nothing.
  virtual Result<FetchPlan> plan(const Ticket& ticket, FetchOptions options) = 0;
  // The same for a program that wants the manifest itself (all headers, no piece lists).
  virtual Result<std::shared_ptr<const Manifest>> learn(const Ticket& ticket,
                                                        std::chrono::milliseconds timeout) = 0;
};

std::filesystem::path default_state_directory();

}  // namespace shardswarm
