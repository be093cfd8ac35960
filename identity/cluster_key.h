// The cluster key: what makes nodes trust each other. Part of the public API.
//
// It is the private key and the certificate of a CA (elliptic curve P-256). Every machine of a
// cluster has a copy; with it a node makes certificates for itself and checks those of others.
// It travels as PEM text, in a file of mode 0600, or as one line for copying from one terminal to
// another.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY
struct x509_st;      // and X509

namespace shardswarm {

// Immutable after creation, so threads may share one. None of its error messages holds any part of
// a key.
class ClusterKey {
 public:
  static Result<ClusterKey> make();

  // `text`: PEM, or a line that line() made. PEM may have lost its line ends, or have "\n" in their
  // place: environment variables and secret stores do that to it. kMalformed if it is not a whole
  // key; `source` says in the message where the text is from.
  static Result<ClusterKey> parse(std::string_view text, const std::string& source);

  // kNotFound, kPermission, kMalformed, each with the name of the file.
  static Result<ClusterKey> load(const std::filesystem::path& file);

  // Writes a file of mode 0600, and the folders on the way to it. It is on the disk when this
  // returns. If there is a file: kBusy, unless `replace`; then the old content stays until the new
  // is written. Where this fails it leaves no other file. kPermission, kIo.
  Result<void> write(const std::filesystem::path& file, bool replace = false) const;

  // One line for the operator: that other users can read the file that the key was loaded from, and
  // what to do. Empty when they cannot, or when it is from no file.
  const std::string& warning() const { return warning_; }

  const std::string& pem() const { return pem_; }
  std::string line() const;  // "shardswarm-key:" and base64 of the PEM, no newline
  // "3f2a-91c4-0b7d-e5a8-6612": 80 bits of the SHA-256 of the public key, to be compared by people.
  std::string fingerprint() const;

  evp_pkey_st* private_key() const { return key_.get(); }
  x509_st* certificate() const { return certificate_.get(); }

 private:
  ClusterKey() = default;
  std::string pem_;
  std::string warning_;
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_st> certificate_;
};

// The key of this machine: `named` (a file, or a key itself), else what SHARDSWARM_KEY names or
// holds, else the default file if it exists, else nothing. kRefused: there is no such file, or
// none that may be a file's name; kMalformed: it is not a key. `source` says in these messages
// where `named` is from. They do not show a text that may be a key.
Result<std::optional<ClusterKey>> find_cluster_key(const std::string& named,
                                                   const std::string& source = "--key");

// Makes a cluster key and writes it. kPermission/kIo; kBusy if the file exists.
Result<void> make_cluster_key(const std::filesystem::path& file);

// Where a key is looked for when none is named; empty without a home directory.
std::filesystem::path default_key_file();

}  // namespace shardswarm
