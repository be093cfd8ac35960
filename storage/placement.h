// Where the pieces of a model lie in a directory: its files on the disk, and a place in them for
// each piece. The layouts differ in nothing else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "piece/manifest.h"
#include "storage/holding.h"
#include "storage/layout.h"

namespace shardswarm {

// A file on the disk. In the original and the mirror layout its number is that of the root's file;
// in the compact layout too for files that are there as they are, while safetensors files of ours
// have numbers from first_compact_number() on. Ledger and incoming/ go by it.
using PlacedIndex = StrongIndex<struct PlacedIndexTag>;

struct PlacedFile {
  std::string path;  // below the directory; empty: there is no file of this number
  std::uint64_t size = 0;
  Blob head;          // what stands before all pieces; null: nothing
  bool ours = false;  // below .shardswarm/: nobody else's business
};

// Bytes [from, from + length) of a piece, at `offset` of a file.
struct Place {
  PlacedIndex file;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t from = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

// The manifest must outlive it. Const access from several threads is fine.
class Placement {
 public:
  Placement() = default;
  // Original and mirror layout: every file under its own number, path and size.
  static Placement as_original(const Manifest& manifest);
  // The compact layout of `files`, the root's plain files beside them; numbers up to `next_number`
  // are valid. kLimit when a header of theirs would exceed the format's.
  static Result<Placement> compact(const Manifest& manifest, const std::vector<CompactFile>& files,
                                   std::uint32_t next_number);

  // As a directory of this layout has it, whose manifest and holding are in `meta`.
  static Result<Placement> of_directory(Layout layout, const std::filesystem::path& meta,
                                        const Manifest& manifest);

  // Numbers below it are valid; some may be of no file.
  std::uint32_t file_count() const { return static_cast<std::uint32_t>(files_.size()); }
  const PlacedFile& file(PlacedIndex file) const { return files_[file.value]; }
  bool exists(PlacedIndex file) const { return !files_[file.value].path.empty(); }

  // Where the whole piece lies; nothing when this layout has no place for it.
  // REQUIRES: the header of the piece's file is there.
  std::optional<Place> home(PieceIndex piece) const;
  // A piece that a slice cuts through lies whole in a file of ours; the part of it that the slice
  // has lies here too.
  std::optional<Place> part(PieceIndex piece) const;

 private:
  struct PlacedTensor {
    TensorRows rows;
    PlacedIndex file;
    std::uint64_t offset = 0;  // of the first of these rows in that file
    std::uint64_t begin = 0;   // bytes [begin, end) of the tensor
    std::uint64_t end = 0;
  };
  const PlacedTensor* find(FileIndex file, TensorIndex tensor) const;

  const Manifest* manifest_ = nullptr;
  bool compact_ = false;
  std::vector<PlacedFile> files_;
  std::vector<PlacedTensor> tensors_;  // by file and tensor
};

// The first number of a compact safetensors file. The one before is of the file that holds the
// pieces which slices cut through, each at its number times 1 MiB.
std::uint32_t first_compact_number(const Manifest& manifest);

}  // namespace shardswarm
