#include "identity/cluster_key.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/text.h"
#include "identity/certificate.h"
#include "identity/identity.h"

namespace shardswarm {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kKeyFileBytesMax = 1 << 20;
constexpr std::string_view kLineScheme = "shardswarm-key:";
constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kDashes = "-----";
constexpr std::size_t kPemLineBytes = 64;
// The parts of a file's name that are longer are not shown: a line of a key in PEM has 64 bytes.
constexpr std::size_t kShownNameBytesMax = 40;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The body of a PEM block as lines of 64, whatever its line ends have become.
std::string mended_body(std::string_view body) {
  std::string lines = "\n";
  std::size_t column = 0;
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (is_space(body[i])) continue;
    if (body[i] == '\\' && i + 1 < body.size() && (body[i + 1] == 'n' || body[i + 1] == 'r')) {
      ++i;
      continue;
    }
    lines += body[i];
    if (++column % kPemLineBytes == 0) lines += '\n';
  }
  if (column % kPemLineBytes != 0) lines += '\n';
  return lines;
}

// All blocks of a PEM text, one after the other.
std::string mended_pem(std::string_view text) {
  std::string pem;
  while (true) {
    const std::size_t begin = text.find(kBegin);
    if (begin == std::string_view::npos) return pem;
    text.remove_prefix(begin);
    const std::size_t label_end = text.find(kDashes, kBegin.size());
    if (label_end == std::string_view::npos) return pem;
    const std::string_view label = text.substr(kBegin.size(), label_end - kBegin.size());
    const std::string closing = "-----END " + std::string(label) + "-----";
    const std::size_t body = label_end + kDashes.size();
    const std::size_t end = text.find(closing, body);
    if (end == std::string_view::npos) return pem;
    pem += text.substr(0, body);
    pem += mended_body(text.substr(body, end - body));
    pem += closing + "\n";
    text.remove_prefix(end + closing.size());
  }
}

std::string base64(std::string_view text) {
  std::string encoded(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int length = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()));
  encoded.resize(static_cast<std::size_t>(length));
  return encoded;
}

// The decoded text; an empty one if `text` is not base64. What padding stood for is left as zero
// bytes, which PEM ignores.
std::string from_base64(std::string text) {
  std::erase_if(text, is_space);  // of a line that a terminal broke
  std::string decoded(3 * (text.size() / 4) + 3, '\0');
  const int length = ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()),
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()));
  decoded.resize(static_cast<std::size_t>(std::max(length, 0)));
  return decoded;
}

// Whether the private and the public part belong together. Without this check a digit that was lost
// on the way would show only when the first handshake fails.
bool is_a_pair(const ClusterKey& key) {
  const std::unique_ptr<EVP_PKEY_CTX, OpenSslFree<&::EVP_PKEY_CTX_free>> context(
      ::EVP_PKEY_CTX_new(key.private_key(), nullptr));
  return ::X509_check_private_key(key.certificate(), key.private_key()) == 1 && context &&
         ::EVP_PKEY_pairwise_check(context.get()) == 1;
}

// A key that is protected by a password is refused rather than asked for on a terminal.
int no_password(char*, int, int, void*) { return -1; }

std::unexpected<Error> not_a_key(const std::string& source) {
  return fail(
      Errc::kMalformed,
      source +
          " is not a cluster key, or a damaged one: it should hold a private key and its "
          "certificate, as `shardswarm key new` makes them, or the line that `shardswarm key "
          "export` prints");
}

std::string file_bytes_as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A file that is removed at the end unless keep() was called.
class UnlinkedAtEnd {
 public:
  explicit UnlinkedAtEnd(std::string path) : path_(std::move(path)) {}
  ~UnlinkedAtEnd() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  UnlinkedAtEnd(const UnlinkedAtEnd&) = delete;
  UnlinkedAtEnd& operator=(const UnlinkedAtEnd&) = delete;
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

// `name`: how an error calls the file.
Result<void> write_synced(const Fd& fd, const std::string& text, const std::string& name) {
  auto written = write_exactly(fd.get(), 0, std::as_bytes(std::span(text)), name);
  if (written && ::fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync " + name);
  return written;
}

// Renames `from` unless there is a file `to`. Returns 0 or an errno.
int rename_to_new_name(const std::string& from, const fs::path& to) {
#ifdef RENAME_NOREPLACE
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0 ? 0
                                                                                          : errno;
#else
  return ENOSYS;
#endif
}

// Some file systems (vfat, NFS) and old kernels cannot.
bool cannot_rename_to_new_name(int error) { return error == EINVAL || error == ENOSYS; }

std::unexpected<Error> exists_already(const fs::path& file) {
  return fail(Errc::kBusy, file.string() +
                               " exists already: nodes that use it would lose each other; remove "
                               "it first if you mean to replace it");
}

// A new file, written under its own name; gone again if that fails.
Result<void> write_in_place(const fs::path& file, const std::string& text) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST) return exists_already(file);
  if (!fd) return fail_errno(errno, "cannot write " + file.string());
  UnlinkedAtEnd unfinished(file.string());
  auto written = write_synced(fd, text, file.string());
  if (written) unfinished.keep();
  return written;
}

// Whether a text that names no file may be shown. A text is taken for a mistyped path, and not for
// a part of a key, if its folder exists and its last component has at most kShownNameBytesMax
// bytes.
bool may_be_shown(const std::string& text) {
  const fs::path path(text);
  std::error_code ec;
  const bool plain =
      std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; }) && !text.empty();
  return plain && path.filename().native().size() <= kShownNameBytesMax &&
         (!path.has_parent_path() || fs::is_directory(path.parent_path(), ec));
}

bool others_may_read(const fs::path& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0) return false;
  // The group's bits of a file that is not ours may be the mask of an access list: systemd gives a
  // service its credentials so, which nobody else can read.
  const bool group = status.st_uid == ::geteuid() && (status.st_mode & S_IRWXG) != 0;
  return group || (status.st_mode & S_IRWXO) != 0;
}

Result<ClusterKey> key_from(const std::string& text, const std::string& source, bool may_show) {
  if (holds_key(text)) return ClusterKey::parse(text, source);
  std::error_code ec;
  if (fs::exists(text, ec)) return ClusterKey::load(text);
  if (may_show && may_be_shown(text)) {
    return fail(Errc::kRefused, source + " names " + text + ", and there is no such file");
  }
  return fail(Errc::kRefused,
              source +
                  " is neither the name of a file that can be found nor a cluster key; its text is "
                  "not shown here, as it may be a secret");
}

}  // namespace

Result<ClusterKey> ClusterKey::make() {
  const auto key = make_key();
  if (!key) return std::unexpected(key.error());
  const auto certificate = make_certificate("shardswarm cluster", key->get(), nullptr, key->get());
  if (!certificate) return std::unexpected(certificate.error());
  const BioPtr pem(::BIO_new(::BIO_s_mem()));
  if (!pem ||
      ::PEM_write_bio_PKCS8PrivateKey(pem.get(), key->get(), nullptr, nullptr, 0, nullptr,
                                      nullptr) != 1 ||
      ::PEM_write_bio_X509(pem.get(), certificate->get()) != 1) {
    return fail(Errc::kInternal, "cannot encode the key: " + openssl_error());
  }
  char* data = nullptr;
  const long length = BIO_get_mem_data(pem.get(), &data);
  return parse({data, static_cast<std::size_t>(length)}, "the new key");
}

Result<ClusterKey> ClusterKey::parse(std::string_view text, const std::string& source) {
  if (text.size() > kKeyFileBytesMax) return not_a_key(source);
  text = trimmed(text);
  std::string decoded;
  if (text.starts_with(kLineScheme)) {
    decoded = from_base64(std::string(text.substr(kLineScheme.size())));
    text = decoded;
  }
  ClusterKey cluster;
  cluster.pem_ = mended_pem(text);
  const int length = static_cast<int>(cluster.pem_.size());
  const BioPtr for_key(::BIO_new_mem_buf(cluster.pem_.data(), length));
  const BioPtr for_certificate(::BIO_new_mem_buf(cluster.pem_.data(), length));
  cluster.key_.reset(::PEM_read_bio_PrivateKey(for_key.get(), nullptr, &no_password, nullptr),
                     &::EVP_PKEY_free);
  cluster.certificate_.reset(
      ::PEM_read_bio_X509(for_certificate.get(), nullptr, &no_password, nullptr), &::X509_free);
  const bool ok = cluster.key_ && cluster.certificate_ && is_a_pair(cluster);
  ::ERR_clear_error();
  if (!ok) return not_a_key(source);
  return cluster;
}

Result<ClusterKey> ClusterKey::load(const fs::path& file) {
  const auto bytes = read_small_file(file, kKeyFileBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  auto key = parse(file_bytes_as_text(*bytes), file.string());
  if (key && others_may_read(file)) {
    key->warning_ = "other users can read the key in " + file.string() + ": run `chmod 600 " +
                    shell_quoted(file.string()) + "`";
  }
  return key;
}

Result<void> ClusterKey::write(const fs::path& file, bool replace) const {
  if (file.has_parent_path()) {
    std::error_code ec;
    fs::create_directories(file.parent_path(), ec);
    if (ec) return fail_errno(ec.value(), "cannot make " + file.parent_path().string());
  }
  // Under another name first: nobody ever finds half a key.
  std::string name = file.string() + ".XXXXXX";
  const Fd fd(::mkostemp(name.data(), O_CLOEXEC));  // of mode 0600
  if (!fd) return fail_errno(errno, "cannot write " + file.string());
  UnlinkedAtEnd temporary(name);
  if (auto written = write_synced(fd, pem_, file.string()); !written) return written;
  const int error = replace ? (::rename(name.c_str(), file.c_str()) == 0 ? 0 : errno)
                            : rename_to_new_name(name, file);
  if (error == 0) {
    temporary.keep();
  } else if (error == EEXIST) {
    return exists_already(file);
  } else if (replace || !cannot_rename_to_new_name(error)) {
    return fail_errno(error, "cannot write " + file.string());
  } else if (auto written = write_in_place(file, pem_); !written) {
    return written;
  }
  return sync_directory(file.has_parent_path() ? file.parent_path() : fs::path("."));
}

std::string ClusterKey::line() const { return std::string(kLineScheme) + base64(pem_); }

std::string ClusterKey::fingerprint() const {
  constexpr std::size_t kDigits = 20;
  constexpr std::size_t kGroup = 4;
  const std::string hex = to_hex(node_id_of(certificate()));
  std::string text;
  for (std::size_t i = 0; i < kDigits; i += kGroup) {
    text += (i == 0 ? "" : "-") + hex.substr(i, kGroup);
  }
  return text;
}

Result<std::optional<ClusterKey>> find_cluster_key(const std::string& named,
                                                   const std::string& source) {
  if (!named.empty()) return key_from(named, source, true);
  // Read before any thread of ours is started.
  if (const char* set = std::getenv("SHARDSWARM_KEY");  // NOLINT(concurrency-mt-unsafe)
      set != nullptr && *set != '\0') {
    return key_from(set, "SHARDSWARM_KEY", false);
  }
  const fs::path usual = default_key_file();
  std::error_code ec;
  if (usual.empty() || !fs::exists(usual, ec)) return std::nullopt;
  return ClusterKey::load(usual);
}

Result<void> make_cluster_key(const fs::path& file) {
  const auto key = ClusterKey::make();
  if (!key) return std::unexpected(key.error());
  return key->write(file);
}

fs::path default_key_file() {
  // Read at start, before threads.
  fs::path folder;
  if (const char* config = std::getenv("XDG_CONFIG_HOME");  // NOLINT(concurrency-mt-unsafe)
      config != nullptr && *config != '\0') {
    folder = config;
  } else if (const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe)
             home != nullptr && *home != '\0') {
    folder = fs::path(home) / ".config";
  } else {
    return {};
  }
  return folder / "shardswarm" / "cluster.key";
}

}  // namespace shardswarm
