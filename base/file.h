// Open files, and what tells whether a file is still the one that was known.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace shardswarm {

// A file descriptor that closes itself. Move-only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A file's identity at a moment: when any of it differs, its bytes are not trusted.
struct FileIdentity {
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};
Result<FileIdentity> identity_of(int fd, const std::string& name);
Result<FileIdentity> file_identity(const std::filesystem::path& path);

Result<Fd> open_for_reading(const std::filesystem::path& path);
// Opens `path` below the directory `root` component by component, following no link; missing
// folders are made when `flags` has O_CREAT. kForeign when a component is a link or no folder.
Result<Fd> open_beneath(int root, const std::filesystem::path& path, int flags);
// The folder that holds `path`, opened the same way (made if missing).
Result<Fd> open_parent_beneath(int root, const std::filesystem::path& path);

// Blocking; all bytes or an error. kIo "shrank" when the file ends before.
Result<void> read_exactly(int fd, std::uint64_t offset, std::span<std::byte> into,
                          const std::string& name);
Result<void> write_exactly(int fd, std::uint64_t offset, std::span<const std::byte> from,
                           const std::string& name);

// A small file whole; kLimit beyond `most` bytes.
Result<std::vector<std::byte>> read_small_file(const std::filesystem::path& path,
                                               std::uint64_t most);
// Written under another name, synced and renamed: either the old content or the new.
Result<void> replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
// The same below the directory `root`, following no link.
Result<void> replace_file_beneath(int root, const std::filesystem::path& path,
                                  std::span<const std::byte> bytes);
// Gives a file below the directory `root` its final name in the open folder `folder`, and never in
// place of what stands there: kForeign then. `name`: how the error calls it.
Result<void> rename_to_new(int root, const std::string& from, int folder, const std::string& to,
                           const std::string& name);
// Durable when it returns; no link is followed on the way. What is not there is no error.
Result<void> remove_file_beneath(int root, const std::filesystem::path& path);
Result<void> sync_directory(const std::filesystem::path& path);

}  // namespace shardswarm
