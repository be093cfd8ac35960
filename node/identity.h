// Who a node is in its cluster: a CA key shared by file, a key and leaf certificate made at start.
#pragma once

#include <filesystem>
#include <memory>

#include "piece/digest.h"
#include "piece/error.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX
struct x509_st;     // and X509

namespace shardswarm {

// Immutable after creation; safe to share between threads.
class Identity {
 public:
  // Reads the cluster key (CA private key and certificate, PEM), makes an EC P-256 key and a leaf
  // certificate signed by the CA, valid from a year in the past (clocks differ). Contexts: TLS 1.3
  // only, both sides must show a certificate of this CA, no session tickets, no renegotiation.
  // kNotFound, kPermission, kMalformed (names the file and what it should hold).
  static Result<Identity> from_cluster_key(const std::filesystem::path& file);

  const NodeId& id() const { return id_; }
  ssl_ctx_st* client_context() const { return client_.get(); }
  ssl_ctx_st* server_context() const { return server_.get(); }

 private:
  Identity() = default;
  NodeId id_;
  std::shared_ptr<ssl_ctx_st> client_;
  std::shared_ptr<ssl_ctx_st> server_;
};

// SHA-256 of the certificate's public key (DER SubjectPublicKeyInfo).
NodeId node_id_of(x509_st* certificate);

}  // namespace shardswarm
