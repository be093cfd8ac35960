#include "storage/directory_store.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <utility>

#include "storage/piece_check.h"

namespace shardswarm {

Result<Fd> lock_meta(const std::filesystem::path& meta, bool exclusive) {
  const auto path = meta / "lock";
  Fd fd(::open(path.c_str(), (exclusive ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC,
               0666));
  // A read-only copy that came without its lock cannot be written by anybody else either.
  if (!fd && !exclusive && (errno == ENOENT || errno == EACCES)) return fd;
  if (!fd) return fail_errno(errno, "cannot open " + path.string());
  if (::flock(fd.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    return fail(Errc::kBusy, meta.parent_path().string() + " is in use by another shardswarm");
  }
  return fd;
}

void DirectoryStore::trust(const LedgerContent& ledger,
                           const std::vector<std::optional<FileIdentity>>& identities,
                           std::vector<std::string>* warnings, const std::atomic<bool>* cancel) {
  std::vector<PieceCheck> doubtful;
  ledger.recorded.for_each([&](PieceIndex piece) {
    const FileIndex file = manifest_->file_of(piece);
    if (!files_[file.value] || !identities[file.value]) return;
    if (manifest_->needs_header(file) || manifest_->needs_piece_list(file)) return;
    const auto& recorded = ledger.files[file.value];
    if (recorded && *recorded == *identities[file.value]) {
      have_.insert(piece);
    } else {
      doubtful.push_back({.piece = piece,
                          .fd = files_[file.value].get(),
                          .extent = manifest_->extent(piece),
                          .xxh3 = ledger.xxh3[piece.value]});
    }
  });
  const auto checked = check_pieces(*manifest_, doubtful, environment_.workers, cancel);
  std::vector<std::uint32_t> wrong(manifest_->file_count());
  for (std::size_t i = 0; i < doubtful.size(); ++i) {
    progress_.rechecked_bytes += doubtful[i].extent.length;
    if (checked[i].ok) {
      have_.insert(doubtful[i].piece);
    } else {
      ++wrong[doubtful[i].extent.file.value];
    }
  }
  if (warnings == nullptr) return;
  for (std::uint32_t i = 0; i < wrong.size(); ++i) {
    if (wrong[i] == 0) continue;
    warnings->push_back(name_of(FileIndex(i)) + " changed: " + std::to_string(wrong[i]) +
                        " pieces do not match and are left out");
  }
}

Result<void> DirectoryStore::check_piece(PieceIndex piece) {
  const PieceExtent extent = manifest_->extent(piece);
  const std::uint32_t file = extent.file.value;
  const auto now = have_.contains(piece) && files_[file]
                       ? identity_of(files_[file].get(), name_of(extent.file))
                       : fail(Errc::kIo, "");
  if (now && !expected_.empty() && expected_[file] != *now) {
    have_.erase(PieceRun{manifest_->first_piece(extent.file), manifest_->file(extent.file).pieces});
    return fail(Errc::kIo, name_of(extent.file) + " changed: none of it is served any more");
  }
  if (now && now->size >= extent.offset + extent.length) return {};
  have_.erase(piece);
  return fail(Errc::kIo, name_of(extent.file) + " shrank or is gone");
}

void DirectoryStore::prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) {
  if (auto checked = check_piece(piece); !checked) {
    environment_.post([done = std::move(done), error = std::move(checked.error())] {
      done(std::unexpected(error));
    });
    return;
  }
  const PieceExtent extent = manifest_->extent(piece);
  const FileRange range{
      .fd = files_[extent.file.value].get(), .offset = extent.offset, .length = extent.length};
  environment_.engine.read_ahead(
      range.fd, extent.offset, extent.length,
      [self = shared_from_this(), piece, range,
       done = std::move(done)](const Result<void>&) mutable {
        hand_over(std::move(self), [piece, range, done = std::move(done)](DirectoryStore& store) {
          // As late as can be: what changes from here on only the receiver can tell.
          const auto checked = store.check_piece(piece);
          done(checked ? Result<FileRange>(range) : std::unexpected(checked.error()));
        });
      });
}

void DirectoryStore::read_piece(PieceIndex piece, PieceBuffer buffer,
                                std::function<void(Result<PieceBuffer>)> done) {
  const PieceExtent extent = manifest_->extent(piece);
  const int fd = files_[extent.file.value].get();
  const auto bytes = buffer.bytes();
  // std::function copies, buffers do not: shared until it is handed back.
  auto shared = std::make_shared<PieceBuffer>(std::move(buffer));
  environment_.engine.read(
      fd, extent.offset, bytes,
      [self = shared_from_this(), piece, extent, shared,
       done = std::move(done)](const Result<void>& read) mutable {
        hand_over(std::move(self), [piece, extent, shared = std::move(shared),
                                    done = std::move(done), read](DirectoryStore& store) {
          // After reading: what changed before or meanwhile shows now.
          if (!store.expected_.empty()) {
            if (auto checked = store.check_piece(piece); !checked) {
              done(std::unexpected(checked.error()));
              return;
            }
          }
          if (read) {
            done(std::move(*shared));
            return;
          }
          store.have_.erase(piece);
          done(fail(read.error().code, store.name_of(extent.file) + ": " + read.error().message));
        });
      });
}

void DirectoryStore::forget(PieceIndex piece) { have_.erase(piece); }

void DirectoryStore::put(PieceIndex, PieceBuffer, PutDone done) {
  environment_.post([done = std::move(done)] {
    done(fail(Errc::kInternal, "this directory is open for reading only"));
  });
}

void DirectoryStore::on_durable(std::function<void()>) {}

void DirectoryStore::finish(std::function<void(Result<void>)> done) {
  environment_.post([done = std::move(done)] { done({}); });
}

}  // namespace shardswarm
