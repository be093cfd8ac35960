// Learning a model's manifest from peers: the root, then the safetensors headers that the selection
// needs, then the piece lists of the files that it touches; or just headers and lists of certain
// files. Blobs are content-addressed, so any peer that opened the model may be asked for any of
// them, and none is believed before it is checked. Not thread-safe; no I/O, time is handed in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/time.h"
#include "piece/manifest.h"
#include "piece/selection.h"
#include "scheduler/download.h"

namespace shardswarm {

class ManifestFetch {
 public:
  enum class Until : std::uint8_t {
    kHeaders,     // enough to inspect
    kPieceLists,  // enough to fetch and to plan
  };

  // Requests are numbered from `first_request`: answers to an earlier fetch's must not match.
  ManifestFetch(const ModelId& id, Selection selection, Until until,
                std::uint32_t first_request = 1);

  // Headers and piece lists of these files; of none: the root alone. resolved() and outline() mean
  // nothing then. REQUIRES: with files, know() tells a root that has them.
  static ManifestFetch of_files(const ModelId& id, std::vector<FileIndex> files,
                                std::uint32_t first_request);

  // Starts from what this machine kept of the manifest. Before anything else. Errors are those that
  // end the fetch, as of chunk().
  Result<void> know(const Manifest& kept);

  void add_peer(PeerKey peer);
  void remove_peer(PeerKey peer);

  struct Ask {
    PeerKey peer;
    std::uint32_t request = 0;
    Digest digest;
  };
  // Blobs to ask for now; empty when all are under way, or nobody is left to ask.
  std::vector<Ask> decide(Time now);
  // Whether it owes us a blob.
  bool asked(PeerKey peer) const;
  // Whether it said of each blob that is still missing that it does not have it.
  bool lacks(PeerKey peer) const;
  // When an unanswered request is given to another peer, or a refused one may be asked again.
  std::optional<Time> next_deadline() const;

  struct Part {
    std::uint32_t request = 0;
    std::uint32_t offset = 0;  // within what is sent
    std::span<const std::byte> bytes;
    bool last = false;
    bool compressed = false;  // of one zstd frame of the blob, as all parts of the answer
  };
  // Takes in a part of a blob. kProtocol or kCorrupt: this peer broke the rules and is to be closed
  // (it is asked nothing more); any other error ends the fetch (e.g. kUsage: the selection does not
  // fit the model). Answers to requests that were given away are ignored.
  Result<void> chunk(PeerKey peer, const Part& part, Time now);
  void rejected(PeerKey peer, std::uint32_t request, Time now);

  bool done() const { return stage_ == Stage::kDone; }
  std::uint32_t next_request() const { return next_request_; }
  // What is known so far; null before the root.
  const std::shared_ptr<Manifest>& manifest() const { return manifest_; }
  const Outline& outline() const { return outline_; }              // REQUIRES: done()
  const ResolvedSelection& resolved() const { return resolved_; }  // REQUIRES: done()

 private:
  enum class Stage : std::uint8_t { kRoot, kHeaders, kPieceLists, kDone };
  struct Wanted {
    Digest digest;
    std::uint64_t bytes = 0;       // exact, but for the root: an upper bound
    std::vector<FileIndex> files;  // equal files share blobs
  };
  struct Pending {
    PeerKey peer;
    Wanted wanted;
    std::vector<std::byte> bytes;  // as sent
    Time since{};
    Time last_heard{};
  };

  static Result<void> decompress(Pending& pending);
  Result<void> complete(Pending pending);
  Result<void> take_root(std::vector<std::byte> bytes);
  Result<void> enter_headers();
  Result<void> enter_piece_lists();
  void want_lists(const std::vector<FileIndex>& files);
  void want_blob(const Digest& digest, std::uint64_t bytes, FileIndex file);
  void give_back(std::uint32_t request);
  static Time slow_at(const Pending& pending);

  ModelId id_;
  Selection selection_;
  std::optional<std::vector<FileIndex>> files_;  // in place of the selection
  Until until_;
  Stage stage_ = Stage::kRoot;
  std::shared_ptr<Manifest> manifest_;
  Outline outline_;
  ResolvedSelection resolved_;
  std::map<Digest, Wanted> wanted_;  // not asked for now
  std::map<std::uint32_t, Pending> pending_;
  // And the blobs that each did not have or not send, with when to ask it for them again.
  std::map<PeerKey, std::map<Digest, Time>> peers_;
  std::map<PeerKey, std::set<Digest>> lacked_;  // what each did not have when it was asked last
  std::uint32_t next_request_;
};

}  // namespace shardswarm
