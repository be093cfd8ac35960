// Who a node is in its cluster: a key and a leaf certificate made at start, signed by the cluster
// key.
#pragma once

#include <memory>

#include "base/error.h"
#include "identity/cluster_key.h"
#include "piece/digest.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX
struct x509_st;     // and X509

namespace shardswarm {

// Immutable after creation; safe to share between threads.
class Identity {
 public:
  // Makes an EC P-256 key and a leaf certificate that the cluster key signs. Contexts: TLS 1.3
  // only, both sides must show a certificate of this CA, no session tickets, no renegotiation.
  static Result<Identity> of_cluster(const ClusterKey& cluster);

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
