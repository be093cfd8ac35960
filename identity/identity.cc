#include "identity/identity.h"

#include "identity/certificate.h"

namespace shardswarm {
namespace {

// A TLS record carries 16 KiB; several are read with one system call.
constexpr std::size_t kReadAheadBytes = 256 * 1024;

std::shared_ptr<SSL_CTX> make_context(const SSL_METHOD* method, X509* ca, X509* leaf,
                                      EVP_PKEY* leaf_key) {
  std::shared_ptr<SSL_CTX> context(::SSL_CTX_new(method), &::SSL_CTX_free);
  if (!context) return nullptr;
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  ::SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(raw, 1);
  ::SSL_CTX_set_default_read_buffer_len(raw, kReadAheadBytes);
  const bool ok =
      SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
      SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1 &&
      ::SSL_CTX_set_num_tickets(raw, 0) == 1 &&
      // AES-128-GCM first: 4 GB/s a core with AES-NI, twice ChaCha20.
      ::SSL_CTX_set_ciphersuites(
          raw, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384") == 1 &&
      ::X509_STORE_add_cert(::SSL_CTX_get_cert_store(raw), ca) == 1 &&
      ::SSL_CTX_use_certificate(raw, leaf) == 1 && ::SSL_CTX_use_PrivateKey(raw, leaf_key) == 1;
  return ok ? context : nullptr;
}

}  // namespace

NodeId node_id_of(X509* certificate) {
  unsigned char* der = nullptr;
  const int length = ::i2d_X509_PUBKEY(::X509_get_X509_PUBKEY(certificate), &der);
  const NodeId id =
      sha256({reinterpret_cast<const std::byte*>(der), static_cast<std::size_t>(length)});
  ::OPENSSL_free(der);
  return id;
}

Result<Identity> Identity::of_cluster(const ClusterKey& cluster) {
  const auto key = make_key();
  if (!key) return std::unexpected(key.error());
  const auto leaf =
      make_certificate("shardswarm node", key->get(), cluster.certificate(), cluster.private_key());
  if (!leaf) return std::unexpected(leaf.error());
  Identity identity;
  identity.id_ = node_id_of(leaf->get());
  identity.client_ =
      make_context(::TLS_client_method(), cluster.certificate(), leaf->get(), key->get());
  identity.server_ =
      make_context(::TLS_server_method(), cluster.certificate(), leaf->get(), key->get());
  if (!identity.client_ || !identity.server_) {
    return fail(Errc::kInternal, "cannot set up TLS: " + openssl_error());
  }
  return identity;
}

}  // namespace shardswarm
