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

void DirectoryStore::place(Layout layout, Placement placement) {
  layout_ = layout;
  placement_ = std::move(placement);
  files_.resize(placement_.file_count());
}

void DirectoryStore::trust(const LedgerContent& ledger,
                           const std::vector<std::optional<FileIdentity>>& identities, bool recheck,
                           std::vector<std::string>* warnings, const std::atomic<bool>* cancel) {
  std::vector<PieceCheck> doubtful;
  ledger.recorded.for_each([&](PieceIndex piece) {
    const FileIndex of = manifest_->file_of(piece);
    if (manifest_->needs_header(of) || manifest_->needs_piece_list(of)) return;
    const auto place = placement_.home(piece);
    if (!place || !files_[place->file.value] || !identities[place->file.value]) return;
    const auto& recorded = ledger.files[place->file.value];
    const bool whole =
        recorded && recorded->size == placement_.file(place->file).size;  // nobody cut it
    if (whole && *recorded == *identities[place->file.value]) {
      have_.insert(piece);
    } else if (recheck) {
      doubtful.push_back({.piece = piece,
                          .fd = files_[place->file.value].get(),
                          .place = *place,
                          .xxh3 = ledger.xxh3[piece.value]});
    }
  });
  const auto checked = check_pieces(*manifest_, doubtful, environment_.workers, cancel);
  std::vector<std::uint32_t> wrong(placement_.file_count());
  for (std::size_t i = 0; i < doubtful.size(); ++i) {
    progress_.rechecked_bytes += doubtful[i].place.length;
    if (checked[i].ok) {
      have_.insert(doubtful[i].piece);
    } else {
      ++wrong[doubtful[i].place.file.value];
    }
  }
  if (warnings == nullptr) return;
  for (std::uint32_t i = 0; i < wrong.size(); ++i) {
    if (wrong[i] == 0) continue;
    warnings->push_back(name_of(PlacedIndex(i)) + " changed: " + std::to_string(wrong[i]) +
                        " pieces do not match and are left out");
  }
}

std::optional<FileRange> DirectoryStore::range(PieceIndex piece) const {
  if (!have_.contains(piece)) return std::nullopt;
  const Place place = place_of(piece);
  return FileRange{
      .fd = files_[place.file.value].get(), .offset = place.offset, .length = place.length};
}

Result<void> DirectoryStore::check_piece(PieceIndex piece) {
  const auto place = placement_.home(piece);
  if (!place) return fail(Errc::kIo, directory_.string() + " does not hold the piece any more");
  const std::uint32_t file = place->file.value;
  const auto now = have_.contains(piece) && files_[file]
                       ? identity_of(files_[file].get(), name_of(place->file))
                       : fail(Errc::kIo, "");
  if (now && !expected_.empty() && expected_[file] != *now) {
    PieceSet changed(have_.size());
    have_.for_each([&](PieceIndex other) {
      if (place_of(other).file == place->file) changed.insert(other);
    });
    have_ -= changed;
    return fail(Errc::kIo, name_of(place->file) + " changed: none of it is served any more");
  }
  if (now && now->size >= place->offset + place->length) return {};
  forget(piece);
  return fail(Errc::kIo, name_of(place->file) + " shrank or is gone");
}

void DirectoryStore::prepare_range(PieceIndex piece, std::function<void(Result<FileRange>)> done) {
  if (auto checked = check_piece(piece); !checked) {
    environment_.post([done = std::move(done), error = std::move(checked.error())] {
      done(std::unexpected(error));
    });
    return;
  }
  const FileRange found = *range(piece);
  // Asking for it takes two threads and a worker of the kernel, of which nothing would come.
  if (environment_.engine.is_cached(found.fd, found.offset, found.length)) {
    done(found);
    return;
  }
  environment_.engine.read_ahead(
      found.fd, found.offset, found.length,
      [self = shared_from_this(), piece, found,
       done = std::move(done)](const Result<void>&) mutable {
        hand_over(std::move(self), [piece, found, done = std::move(done)](DirectoryStore& store) {
          // As late as can be: what changes from here on only the receiver can tell.
          const auto checked = store.check_piece(piece);
          done(checked ? Result<FileRange>(found) : std::unexpected(checked.error()));
        });
      });
}

void DirectoryStore::read_piece(PieceIndex piece, PieceBuffer buffer,
                                std::function<void(Result<PieceBuffer>)> done) {
  const auto found = range(piece);
  if (!found) {
    environment_.post(
        [done = std::move(done)] { done(fail(Errc::kIo, "the piece is not here any more")); });
    return;
  }
  const PlacedIndex file = place_of(piece).file;
  const auto bytes = buffer.bytes();
  // std::function copies, buffers do not: shared until it is handed back.
  auto shared = std::make_shared<PieceBuffer>(std::move(buffer));
  environment_.engine.read(
      found->fd, found->offset, bytes,
      [self = shared_from_this(), piece, file, shared,
       done = std::move(done)](const Result<void>& read) mutable {
        hand_over(std::move(self), [piece, file, shared = std::move(shared), done = std::move(done),
                                    read](DirectoryStore& store) {
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
          store.forget(piece);
          done(fail(read.error().code, store.name_of(file) + ": " + read.error().message));
        });
      });
}

void DirectoryStore::forget(PieceIndex piece) { have_.erase(piece); }

}  // namespace shardswarm
