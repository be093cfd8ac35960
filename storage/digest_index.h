// Which piece of a model has which digest, on disk: built once with the manifest, searched without
// loading it. Format: spec/storage.md, section "Digest index".
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "piece/manifest.h"

namespace shardswarm {

// In the folder of a kept manifest (see storage/meta_dir.h).
inline constexpr std::string_view kDigestIndexName = "digests";

// A piece of the searched model that has the digest of `wanted[at]`.
struct DigestMatch {
  std::size_t at = 0;
  PieceIndex piece;
};

// 12 bytes a piece, sorted by digest. Digests are uniform, so a search goes to where the digest
// should stand and reads one block there; searching sorted digests reads no block twice. Private
// memory: one block, whatever the model's size. Not thread-safe.
class DigestIndex {
 public:
  // Equal pieces beyond so many are not named; a model may consist of nothing else.
  static constexpr std::size_t kEqualMax = 64;

  // Of all pieces whose lists the manifest has; replaces an older one of that name at once. kBusy
  // while another process writes it.
  static Result<void> write(const std::filesystem::path& file, const Manifest& manifest);
  // kNotFound; kMalformed when it is damaged or of another model.
  static Result<DigestIndex> open(const std::filesystem::path& file, const ModelId& model);
  // For where nothing can be written: 16 bytes a piece, as long as it lives.
  static DigestIndex in_memory(const Manifest& manifest);

  std::uint32_t pieces() const { return pieces_; }  // that it knows
  // REQUIRES: `sorted` ascends, without equals. Matches come in its order; those of one digest are
  // several where pieces are equal. A match is by the first 8 bytes, and the file may be damaged:
  // check that there is such a piece and compare the digests before believing it.
  Result<std::vector<DigestMatch>> find(std::span<const Digest> sorted);

 private:
  struct Record {
    std::uint64_t prefix = 0;
    std::uint32_t piece = 0;
  };
  // What comes before `at` is smaller than the prefix searched for; `value` is a lower bound of it.
  struct Floor {
    std::uint32_t at = 0;
    std::uint64_t value = 0;
  };

  static std::vector<Record> sorted_records(const Manifest& manifest);
  static Result<void> write_records(int fd, const ModelId& model,
                                    const std::vector<Record>& records, const std::string& name);
  Result<std::uint32_t> lower_bound(std::uint64_t prefix, Floor low);
  Result<void> read_block(std::uint32_t first);

  Fd fd_;
  std::string name_;
  std::uint32_t pieces_ = 0;
  std::vector<Record> block_;      // read last; everything when in memory
  std::uint32_t block_first_ = 0;  // where it stands
};

}  // namespace shardswarm
