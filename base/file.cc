#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

namespace shardswarm {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Result<FileIdentity> identity_of(int fd, const std::string& name) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "cannot stat " + name);
#ifdef __APPLE__
  const auto& mtime = status.st_mtimespec;
#else
  const auto& mtime = status.st_mtim;
#endif
  // Times beyond the year 2262 wrap around: they are compared, and mean nothing else.
  const std::uint64_t ns = static_cast<std::uint64_t>(mtime.tv_sec) * 1'000'000'000 +
                           static_cast<std::uint64_t>(mtime.tv_nsec);
  return FileIdentity{.inode = status.st_ino,
                      .size = static_cast<std::uint64_t>(status.st_size),
                      .mtime_ns = static_cast<std::int64_t>(ns)};
}

Result<FileIdentity> file_identity(const std::filesystem::path& path) {
  auto fd = open_for_reading(path);
  if (!fd) return std::unexpected(fd.error());
  return identity_of(fd->get(), path.string());
}

Result<Fd> open_for_reading(const std::filesystem::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "cannot open " + path.string());
  return fd;
}

namespace {

// Component by component: no link on the way can lead out of the directory.
Result<Fd> open_folder_beneath(int root, const std::filesystem::path& folder, bool make) {
  Fd at(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!at) return fail_errno(errno, "cannot open the directory of " + folder.string());
  for (const auto& component : folder) {
    if (make && ::mkdirat(at.get(), component.c_str(), 0777) != 0 && errno != EEXIST) {
      return fail_errno(errno, "cannot make folder " + folder.string());
    }
    Fd next(::openat(at.get(), component.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) {
      if (errno == ELOOP || errno == ENOTDIR) {
        return fail(Errc::kForeign, "'" + component.string() + "' in " + folder.string() +
                                        " is not a folder of this directory (a link?)");
      }
      return fail_errno(errno, "cannot open folder " + folder.string());
    }
    at = std::move(next);
  }
  return at;
}

}  // namespace

Result<Fd> open_parent_beneath(int root, const std::filesystem::path& path) {
  return open_folder_beneath(root, path.parent_path(), true);
}

Result<Fd> open_beneath(int root, const std::filesystem::path& path, int flags) {
  auto folder = open_folder_beneath(root, path.parent_path(), (flags & O_CREAT) != 0);
  if (!folder) return folder;
  Fd fd(::openat(folder->get(), path.filename().c_str(), flags | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) {
    if (errno == ELOOP) return fail(Errc::kForeign, "'" + path.string() + "' is a link");
    return fail_errno(errno, "cannot open " + path.string());
  }
  return fd;
}

Result<void> read_exactly(int fd, std::uint64_t offset, std::span<std::byte> into,
                          const std::string& name) {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "cannot read " + name);
    if (n == 0) return fail(Errc::kIo, name + " shrank: it ends at " + std::to_string(offset));
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> write_exactly(int fd, std::uint64_t offset, std::span<const std::byte> from,
                           const std::string& name) {
  while (!from.empty()) {
    const ssize_t n = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "cannot write " + name);
    from = from.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<std::vector<std::byte>> read_small_file(const std::filesystem::path& path,
                                               std::uint64_t most) {
  auto fd = open_for_reading(path);
  if (!fd) return std::unexpected(fd.error());
  const auto identity = identity_of(fd->get(), path.string());
  if (!identity) return std::unexpected(identity.error());
  if (identity->size > most) return fail(Errc::kLimit, path.string() + " is too large");
  std::vector<std::byte> bytes(identity->size);
  if (auto read = read_exactly(fd->get(), 0, bytes, path.string()); !read) {
    return std::unexpected(read.error());
  }
  return bytes;
}

Result<void> replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return fail_errno(errno, "cannot write " + temporary.string());
  if (auto written = write_exactly(fd.get(), 0, bytes, temporary.string()); !written)
    return written;
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync " + temporary.string());
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return fail_errno(errno, "cannot rename " + temporary.string());
  }
  return sync_directory(path.parent_path());
}

Result<void> replace_file_beneath(int root, const std::filesystem::path& path,
                                  std::span<const std::byte> bytes) {
  auto folder = open_parent_beneath(root, path);
  if (!folder) return std::unexpected(folder.error());
  const std::string name = path.filename().string();
  const std::string temporary = "." + name + ".new";
  Fd fd(::openat(folder->get(), temporary.c_str(),
                 O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return fail_errno(errno, "cannot write " + path.string());
  if (auto written = write_exactly(fd.get(), 0, bytes, path.string()); !written) return written;
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync " + path.string());
  if (::renameat(folder->get(), temporary.c_str(), folder->get(), name.c_str()) != 0) {
    return fail_errno(errno, "cannot rename to " + path.string());
  }
  if (::fsync(folder->get()) != 0 && errno != EINVAL) {
    return fail_errno(errno, "cannot sync the folder of " + path.string());
  }
  return {};
}

Result<void> rename_to_new(int root, const std::string& from, int folder, const std::string& to,
                           const std::string& name) {
  const auto taken = [&] {
    return fail(Errc::kForeign, name +
                                    " appeared while it was being fetched and is not ours: move "
                                    "it away, then run the same command again");
  };
#ifdef __linux__
  if (::renameat2(root, from.c_str(), folder, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) return taken();
  // Some file systems (NFS, overlays of old kernels) cannot promise it.
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
    return fail_errno(errno, "cannot rename to " + name);
  }
#endif
  struct stat status{};
  if (::fstatat(folder, to.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return taken();
  if (::renameat(root, from.c_str(), folder, to.c_str()) == 0) return {};
  return fail_errno(errno, "cannot rename to " + name);
}

Result<void> remove_file_beneath(int root, const std::filesystem::path& path) {
  const auto folder = open_folder_beneath(root, path.parent_path(), false);
  if (!folder && folder.error().code == Errc::kNotFound) return {};
  if (!folder) return std::unexpected(folder.error());
  if (::unlinkat(folder->get(), path.filename().c_str(), 0) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, "cannot remove " + path.string());
  }
  if (::fsync(folder->get()) != 0 && errno != EINVAL) {
    return fail_errno(errno, "cannot sync the folder of " + path.string());
  }
  return {};
}

Result<void> sync_directory(const std::filesystem::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "cannot open " + path.string());
  // Some file systems cannot sync folders; what they can do they did.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) {
    return fail_errno(errno, "cannot sync " + path.string());
  }
  return {};
}

}  // namespace shardswarm
