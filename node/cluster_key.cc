// The cluster key file: a CA's private key and certificate in one PEM file.
#include <fcntl.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "node/certificate.h"
#include "node/shardswarm.h"
#include "storage/file.h"

namespace shardswarm {

namespace fs = std::filesystem;

Result<void> make_cluster_key(const fs::path& file) {
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
  const std::span<const char> text(data, static_cast<std::size_t>(length));

  if (file.has_parent_path()) {
    std::error_code ec;
    fs::create_directories(file.parent_path(), ec);
    if (ec) return fail_errno(ec.value(), "cannot make " + file.parent_path().string());
  }
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST) {
    return fail(Errc::kBusy, file.string() +
                                 " exists already: nodes that use it would lose each other; remove "
                                 "it first if you mean to replace it");
  }
  if (!fd) return fail_errno(errno, "cannot write " + file.string());
  if (auto written = write_exactly(fd.get(), 0, std::as_bytes(text), file.string()); !written) {
    return written;
  }
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync " + file.string());
  return {};
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
