#include "node/cluster_key.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <span>
#include <vector>

#include "node/certificate.h"
#include "node/identity.h"
#include "storage/file.h"

namespace shardswarm {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kKeyFileBytesMax = 1 << 20;
constexpr std::string_view kLineScheme = "shardswarm-key:";
constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kDashes = "-----";
constexpr std::size_t kPemLineBytes = 64;
// No file of a user has a longer name, and no key is as short.
constexpr std::size_t kShownNameBytesMax = 40;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

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

// Empty if it is not base64. What padding stood for is left as zero bytes, which PEM ignores.
std::string from_base64(std::string text) {
  std::erase_if(text, is_space);  // of a line that a terminal broke
  std::string decoded(3 * (text.size() / 4) + 3, '\0');
  const int length = ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()),
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()));
  decoded.resize(static_cast<std::size_t>(std::max(length, 0)));
  return decoded;
}

// Whether the private and the public part belong together: a digit that was lost on the way would
// else be found when the first handshake fails.
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

// Whether a text that names no file may be shown: it can hardly be a part of a key if it names a
// folder that exists, and a file name that is shorter than any key.
bool may_be_shown(const std::string& text) {
  const fs::path path(text);
  std::error_code ec;
  const bool plain =
      std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; }) && !text.empty();
  return plain && path.filename().native().size() <= kShownNameBytesMax &&
         (!path.has_parent_path() || fs::is_directory(path.parent_path(), ec));
}

Result<ClusterKey> key_from(const std::string& text, const std::string& source, bool may_show) {
  if (ClusterKey::is_content(text)) return ClusterKey::parse(text, source);
  std::error_code ec;
  if (fs::exists(text, ec)) return ClusterKey::load(text);
  if (may_show && may_be_shown(text)) {
    return fail(Errc::kNotFound, source + " names " + text + ", and there is no such file");
  }
  return fail(Errc::kNotFound,
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
  return parse(file_bytes_as_text(*bytes), file.string());
}

bool ClusterKey::is_content(std::string_view text) {
  return text.find(kDashes) != std::string_view::npos || trimmed(text).starts_with(kLineScheme);
}

Result<void> ClusterKey::write(const fs::path& file, bool replace) const {
  if (file.has_parent_path()) {
    std::error_code ec;
    fs::create_directories(file.parent_path(), ec);
    if (ec) return fail_errno(ec.value(), "cannot make " + file.parent_path().string());
  }
  // Under another name first: nobody ever finds half a key.
  fs::path temporary = file;
  temporary += ".new";
  ::unlink(temporary.c_str());
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "cannot write " + temporary.string());
  const auto bytes = std::as_bytes(std::span(pem_));
  if (auto written = write_exactly(fd.get(), 0, bytes, temporary.string()); !written) {
    return written;
  }
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync " + temporary.string());
  if (replace) {
    if (::rename(temporary.c_str(), file.c_str()) == 0) return {};
    return fail_errno(errno, "cannot rename " + temporary.string());
  }
  const bool linked = ::link(temporary.c_str(), file.c_str()) == 0;
  const int error = errno;
  ::unlink(temporary.c_str());
  if (linked) return {};
  if (error != EEXIST) return fail_errno(error, "cannot write " + file.string());
  return fail(Errc::kBusy, file.string() +
                               " exists already: nodes that use it would lose each other; remove "
                               "it first if you mean to replace it");
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

Result<std::optional<ClusterKey>> find_cluster_key(const std::string& named) {
  if (!named.empty()) return key_from(named, "--key", true);
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
