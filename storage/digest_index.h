// Which piece of a model has which digest, on disk: built once with the manifest, searched without
// loading it. Format: spec/storage.md, section "digest index".
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "piece/manifest.h"
#include "storage/file.h"

namespace shardswarm {

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
  // Of all pieces whose lists the manifest has; replaces an older one of that name at once.
  static Result<void> write(const std::filesystem::path& file, const Manifest& manifest);
  // kNotFound; kMalformed when it is damaged or of another model.
  static Result<DigestIndex> open(const std::filesystem::path& file, const ModelId& model);

  std::uint32_t pieces() const { return pieces_; }  // that it knows
  // REQUIRES: `sorted` ascends. A match is by the first 8 bytes: compare the digests before
  // believing it. Of pieces that are equal any one is named.
  Result<std::vector<DigestMatch>> find(std::span<const Digest> sorted);

 private:
  Fd fd_;
  std::uint32_t pieces_ = 0;
};

}  // namespace shardswarm
