// One model in one directory: which pieces are here, verified and durable; where they lie; putting
// new ones there. Layouts and the ledger's format: spec/storage.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer_pool.h"
#include "piece/manifest.h"
#include "piece/piece_set.h"
#include "piece/selection.h"
#include "storage/holding.h"
#include "storage/io_engine.h"
#include "storage/layout.h"
#include "storage/workers.h"

namespace shardswarm {

// What stores share; all of it must outlive them.
struct StorageEnvironment {
  IoEngine& engine;
  Workers& workers;  // verification
  // Runs a function on the owner's thread, in order; callable from any thread.
  std::function<void(std::function<void()>)> post;
};

// Bytes of an open, verified range. Valid as long as the store.
struct FileRange {
  int fd = -1;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
};

struct StoreProgress {
  std::uint64_t rechecked_bytes = 0;  // read again at open, where the ledger could not vouch
  std::uint64_t copied_bytes = 0;     // taken from other directories of this machine
};

// Not thread-safe: all calls on the owner's thread, and all callbacks come there (through
// StorageEnvironment::post, but for prepare_range's); operations under way keep the store alive.
// open_* block (they read, hash and allocate): call them on a thread that may wait, but not on one
// of `workers`.
class Store {
 public:
  struct TargetOptions {
    std::filesystem::path directory;
    // Nothing: as the directory is; of a new one original for everything, else compact.
    std::optional<Layout> layout;
    // What the resolved selection stands for: becomes part of what the directory is to hold. When
    // it drops, the selection leaves; nothing is to be put then: finish() at once.
    std::optional<HoldingStep> step;
    // Another directory of this model, to be copied from with its history.
    std::shared_ptr<const Store> source;
    std::vector<HoldingStep> history;
    // Whose catalogue the directory is entered into when it is complete, and, with `reuse`, has
    // further directories to copy from. Empty: there is none.
    std::filesystem::path state_directory;
    bool reuse = false;
    // No recorded file is believed to be unchanged: all that is here is hashed again, what is wrong
    // counts as missing, and headers are written again. Finds rot, which keeps sizes and times.
    // With it or without, a file that holds no tensors and was changed since it was fetched, as a
    // config.json that somebody edited, stays as it is, and a warning names it.
    bool recheck = false;
    const std::atomic<bool>* cancel = nullptr;  // set: ends soon with kCancelled
  };
  // A directory to fetch into: created if missing, locked (kBusy), refused if it holds another
  // model or anything that we did not put there under a name we would write (kForeign), checked for
  // space (kNoSpace: what is needed, what is there) and preallocated. Takes up what an earlier run
  // left: ledger entries of unchanged files are trusted; ranges written but not recorded, and files
  // whose identity changed, are hashed again. Then it takes equal pieces from other directories of
  // this machine, hashing what it took. What was fetched into it before stays (kUsage when another
  // layout is asked for than it has, or one that cannot hold the selection).
  static Result<std::shared_ptr<Store>> open_target(StorageEnvironment environment,
                                                    const TargetOptions& options,
                                                    std::shared_ptr<const Manifest> manifest,
                                                    const ResolvedSelection& selection);

  struct SourceOptions {
    std::filesystem::path directory;
    std::filesystem::path state_directory;
    // Files whose identity changed since are hashed again; without it their pieces are left out.
    bool recheck = true;
    // A fetched directory is locked shared, so that nobody writes to it. Without it the identity of
    // each file must do.
    bool lock = true;
    const std::atomic<bool>* cancel = nullptr;  // set: ends soon with kCancelled
  };
  // A directory to serve from, read-only: one that was fetched (its own .shardswarm/ tells the
  // model and what it holds), or one that was indexed (the state directory knows it). Pieces that
  // do not match are left out, with a line in `warnings`. A file that changes later is not served
  // any more.
  static Result<std::shared_ptr<Store>> open_source(StorageEnvironment environment,
                                                    const SourceOptions& options,
                                                    std::vector<std::string>& warnings);

  virtual ~Store() = default;

  virtual const Manifest& manifest() const = 0;
  virtual std::shared_ptr<const Manifest> shared_manifest() const = 0;
  virtual const PieceSet& have() const = 0;  // verified and readable here
  // Of a target: the pieces of the selection, in the original layout of whole files, and what
  // earlier ones brought and is lost. What of it is not here must be put until finish() completes
  // it.
  virtual PieceSet wanted() const = 0;
  // Of a target: pieces of files that somebody edited since they were fetched and that stay as
  // they are (TargetOptions::recheck). They are not wanted, and not served either.
  virtual PieceSet kept_back() const = 0;
  // What the user should know of the opening, one line each.
  virtual const std::vector<std::string>& warnings() const = 0;
  virtual Layout layout() const = 0;
  virtual StoreProgress progress() const = 0;

  // Verifies and writes a piece. `done` gets: ok -> it is in have() and can be served; kCorrupt ->
  // wrong bytes; kNoSpace/kIo -> the disk failed. Durability follows: undurable_bytes() goes down.
  using PutDone = std::function<void(Result<void>)>;
  virtual void put(PieceIndex piece, PieceBuffer buffer, PutDone done) = 0;
  // Bytes put and not yet recorded in the ledger after a sync; `on_durable` is called when it goes
  // down.
  virtual std::uint64_t undurable_bytes() const = 0;
  virtual void on_durable(std::function<void()> callback) = 0;

  // Files of a target that got their final names since the last call, by their paths below the
  // directory.
  virtual std::vector<std::string> take_named() = 0;

  // Where a piece that is here lies; nothing if it is not.
  virtual std::optional<FileRange> range(PieceIndex piece) const = 0;
  // Makes a piece ready to be sent: read-ahead for `kRange`, its bytes in `buffer` for `kBuffer`.
  // kIo when the file shrank or cannot be read: the piece leaves have(). kIo, too, when a file that
  // is only read is not what it was at opening: all its pieces leave have(). `done` of a range that
  // is in the page cache may be called before prepare_range returns.
  virtual void prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) = 0;
  virtual void read_piece(PieceIndex piece, PieceBuffer buffer,
                          std::function<void(Result<PieceBuffer>)> done) = 0;
  // The file of this piece failed while it was sent (it shrank): the piece leaves have().
  virtual void forget(PieceIndex piece) = 0;

  // All selected pieces are put: syncs, gives files their names, records their identity. Also on
  // the way out of an unfinished fetch (files keep their temporary names then). `done` once.
  virtual void finish(std::function<void(Result<void>)> done) = 0;
};

// What verify found.
struct VerifyReport {
  std::uint64_t pieces = 0;  // checked
  std::uint64_t bytes = 0;
  std::uint64_t missing_pieces = 0;  // not here (partial directory): not an error
  // Of these, what no completed fetch selected; 0 where no fetch was completed.
  std::uint64_t unselected_pieces = 0;
  std::vector<std::string> wrong;  // one line each: file, tensor, piece, what is wrong
};
// Re-checks every present piece of a fetched or indexed directory: XXH3 against the ledger, or
// SHA-256 against the manifest with `full`. Reads only.
Result<VerifyReport> verify_directory(StorageEnvironment environment,
                                      const std::filesystem::path& directory,
                                      const std::filesystem::path& state_directory, bool full);

}  // namespace shardswarm
