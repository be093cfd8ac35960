// The ledger: which pieces of a model are durable in a directory, each with its XXH3-64, and the
// identity of the files they lie in. Append-only; format: spec/storage.md.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/ids.h"
#include "piece/digest.h"
#include "piece/piece_set.h"
#include "storage/placement.h"
#include "storage/store.h"

namespace shardswarm {

struct PieceRecord {
  PieceIndex piece;
  std::uint64_t xxh3 = 0;
};

// What a ledger says of a model with `pieces` pieces and `files` files.
struct LedgerContent {
  ModelId model;
  Layout layout = Layout::kOriginal;
  PieceSet recorded;
  std::vector<std::uint64_t> xxh3;                 // by piece, where recorded
  std::vector<std::optional<FileIdentity>> files;  // by number, as last recorded
};

class Ledger {
 public:
  // Just the model and layout: what the directory is.
  struct Head {
    ModelId model;
    Layout layout = Layout::kOriginal;
  };
  static Result<Head> read_head(const std::filesystem::path& file);
  // Everything up to the first record that is torn or does not match its checksum. Records that
  // name pieces or files the model does not have end the reading too.
  static Result<LedgerContent> read(const std::filesystem::path& file, std::uint32_t pieces,
                                    std::uint32_t files);

  // The pieces alone, for who does not know the files.
  static Result<PieceSet> read_recorded(const std::filesystem::path& file, std::uint32_t pieces);

  // A new, empty one, durable under its name; an old one of that name is replaced.
  static Result<Ledger> create(const std::filesystem::path& file, const ModelId& model,
                               Layout layout);
  // For appending; a torn tail is cut off.
  static Result<Ledger> open(const std::filesystem::path& file, std::uint32_t pieces,
                             std::uint32_t files, LedgerContent& content);

  // Appended with one write a record; durable after a sync of fd().
  Result<void> append_pieces(std::span<const PieceRecord> records);
  Result<void> append_file(PlacedIndex file, const FileIdentity& identity);
  Result<void> append_gone(PlacedIndex file);  // it is not ours any more
  Result<void> append_lost(std::span<const PieceIndex> pieces);
  int fd() const { return fd_.get(); }

 private:
  Result<void> append(std::uint32_t type, std::span<const std::byte> body);

  Fd fd_;
  std::uint64_t salt_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace shardswarm
