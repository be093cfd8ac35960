#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

#include "identity/openssl.h"
#include "transport/transport.h"
#include "wire/frame.h"

namespace shardswarm {
namespace {

// What a record holds, at most.
constexpr std::size_t kRecordBytes = SSL3_RT_MAX_PLAIN_LENGTH;

struct Socket {
  int fd = -1;
  bool more = false;  // other records follow at once
  // How the connection began: enough of it to know a node without a key by its preamble (WIRE-1).
  std::array<std::byte, kPreambleBytes.size()> first{};
  std::size_t first_bytes = 0;
};

Socket& socket_of(BIO* bio) { return *static_cast<Socket*>(::BIO_get_data(bio)); }

// As OpenSSL's own socket BIO, but with MSG_NOSIGNAL and MSG_MORE.
int bio_write(BIO* bio, const char* data, int length) {
  BIO_clear_retry_flags(bio);
  const Socket& socket = socket_of(bio);
  int flags = 0;
#ifdef MSG_NOSIGNAL
  flags |= MSG_NOSIGNAL;
#endif
#ifdef MSG_MORE
  if (socket.more) flags |= MSG_MORE;
#endif
  const auto n = ::send(socket.fd, data, static_cast<std::size_t>(length), flags);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
    BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int bio_read(BIO* bio, char* data, int length) {
  BIO_clear_retry_flags(bio);
  Socket& socket = socket_of(bio);
  const auto n = ::recv(socket.fd, data, static_cast<std::size_t>(length), 0);
  if (n > 0) {
    const auto got = std::as_bytes(std::span(data, static_cast<std::size_t>(n)));
    const std::size_t kept = std::min(got.size(), socket.first.size() - socket.first_bytes);
    std::ranges::copy(got.first(kept),
                      socket.first.begin() + static_cast<std::ptrdiff_t>(socket.first_bytes));
    socket.first_bytes += kept;
  }
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) BIO_set_retry_read(bio);
  if (n == 0) ::BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(n);
}

long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return ::BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* socket_method() {
  static BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    ::BIO_meth_set_write(method, &bio_write);
    ::BIO_meth_set_read(method, &bio_read);
    ::BIO_meth_set_ctrl(method, &bio_control);
    return method;
  }();
  return kMethod;
}

bool is_without_certificate(unsigned long error) {
  return ERR_GET_LIB(error) == ERR_LIB_SSL &&
         ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
}

// Whether what came is something else than a TLS record.
bool is_no_tls(unsigned long error) {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return false;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return true;
    default:
      return false;
  }
}

bool is_refusal(unsigned long error) {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return false;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return true;
    default:
      return false;
  }
}

// TLS 1.3 with both sides' certificates checked against the cluster's CA.
class TlsTransport final : public Transport {
 public:
  TlsTransport(int fd, bool dialer, const Identity& identity, bool in_kernel)
      : socket_{.fd = fd},
        dialer_(dialer),
        ssl_(::SSL_new(dialer ? identity.client_context() : identity.server_context())) {
    BIO* const own = ::BIO_new(socket_method());
    ::BIO_set_data(own, &socket_);
    ::BIO_set_init(own, 1);
    BIO* writing = own;
    if (in_kernel) {
      // It alone hands keys to the kernel. For reading it must not: later versions of OpenSSL
      // would, and what was read ahead by then would be taken for plaintext.
      writing = ::BIO_new_socket(fd, BIO_NOCLOSE);
      ::SSL_set_options(ssl_.get(), SSL_OP_ENABLE_KTLS);
    }
    ::SSL_set_bio(ssl_.get(), own, writing);
    if (dialer) {
      ::SSL_set_connect_state(ssl_.get());
    } else {
      ::SSL_set_accept_state(ssl_.get());
    }
  }

  Result<Wait> handshake() override {
    ::ERR_clear_error();
    const int result = ::SSL_do_handshake(ssl_.get());
    if (result == 1) {
      up_ = true;
      choose_writer();
      return Wait::kNone;
    }
    const auto moved = stopped(result);
    if (!moved) return std::unexpected(moved.error());
    if (moved->wait == Wait::kNone) {
      return fail(Errc::kUnreachable, "it closed the connection during the TLS handshake");
    }
    return moved->wait;
  }

  std::optional<NodeId> peer_id() const override {
    X509* certificate = ::SSL_get0_peer_certificate(ssl_.get());
    if (certificate == nullptr) return std::nullopt;
    return node_id_of(certificate);
  }

  Result<Moved> read(std::span<const std::span<std::byte>> into) override {
    // OpenSSL would change its own key, and not the kernel's.
    if (in_kernel_ && ::SSL_get_key_update_type(ssl_.get()) != SSL_KEY_UPDATE_NONE) {
      return fail(Errc::kIo, "TLS: the peer asks for a new key, and the kernel has the old one");
    }
    std::size_t total = 0;
    for (const auto& span : into) {
      std::size_t filled = 0;
      while (filled < span.size()) {
        ::ERR_clear_error();
        std::size_t n = 0;
        const int result =
            ::SSL_read_ex(ssl_.get(), span.data() + filled, span.size() - filled, &n);
        if (result != 1) {
          // What came before the obstacle counts; the next call meets it again.
          if (total > 0) return Moved{total, Wait::kNone};
          return stopped(result);
        }
        filled += n;
        total += n;
      }
    }
    return Moved{total, Wait::kNone};
  }

  // A record at a time: the kernel makes of them what it likes best, and wakes the other side once.
  Result<Moved> write(std::span<const std::byte> from, bool more) override {
    if (in_kernel_) return in_kernel_->write(from, more);
    std::size_t total = 0;
    while (total < from.size()) {
      ::ERR_clear_error();
      const auto rest = from.subspan(total);
      std::size_t n = 0;
      socket_.more = more || rest.size() > kRecordBytes;
      const int result = ::SSL_write_ex(ssl_.get(), rest.data(), rest.size(), &n);
      if (result != 1) {
        // As in read(): the next call, with the same bytes, meets the obstacle again.
        if (total > 0) break;
        return stopped(result);
      }
      total += n;
    }
    return Moved{total, Wait::kNone};
  }

  bool can_send_file() const override { return in_kernel_ && in_kernel_->can_send_file(); }
  Result<Moved> write_file(int fd, std::uint64_t offset, std::uint32_t length) override {
    if (!in_kernel_) return fail(Errc::kInternal, "TLS sends no files");
    return in_kernel_->write_file(fd, offset, length);
  }

  Wait shutdown() override {
    ::ERR_clear_error();
    const int result = up_ ? ::SSL_shutdown(ssl_.get()) : 1;
    const bool blocked = result < 0 && ::SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_WRITE;
    ::ERR_clear_error();
    if (blocked) return Wait::kWritable;
    // The kernel may hold records that TCP does not have yet, which a FIN would overtake: there the
    // other side ends by close_notify.
    if (!in_kernel_ || !up_) ::shutdown(socket_.fd, SHUT_WR);
    return Wait::kNone;
  }

 private:
  // Whether the kernel took the key shows when the handshake is done. If it did, the socket takes
  // plaintext from now on and makes records of it.
  void choose_writer() {
    BIO* const own = ::SSL_get_rbio(ssl_.get());
    BIO* const writing = ::SSL_get_wbio(ssl_.get());
    if (BIO_get_ktls_send(writing)) {
      in_kernel_ = make_plain_transport(socket_.fd);
    } else if (writing != own) {
      ::BIO_up_ref(own);
      ::SSL_set0_wbio(ssl_.get(), own);
    }
  }

  // OpenSSL closes in silence when what comes does not look like TLS. A node without a key can tell
  // its user why it is refused if it gets an alert in plaintext (WIRE-1a).
  void say_that_this_is_tls() {
    int flags = 0;
#ifdef MSG_NOSIGNAL
    flags |= MSG_NOSIGNAL;
#endif
    // The first bytes of a connection: the socket has room for them.
    (void)::send(socket_.fd, kTlsAlertBytes.data(), kTlsAlertBytes.size(), flags);
  }

  // OpenSSL reads the 5 bytes of a record's header before it stops. They are enough: nothing else
  // begins so, and the rest of the preamble may be on its way.
  bool began_as_a_node_without_a_key() const {
    return socket_.first_bytes >= SSL3_RT_HEADER_LENGTH &&
           std::ranges::equal(std::span(socket_.first).first(socket_.first_bytes),
                              std::span(kPreambleBytes).first(socket_.first_bytes));
  }

  // Why an operation did not go on.
  Result<Moved> stopped(int result) {
    switch (::SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return Moved{0, Wait::kReadable};
      case SSL_ERROR_WANT_WRITE:
        return Moved{0, Wait::kWritable};
      case SSL_ERROR_ZERO_RETURN:
        return Moved{0, Wait::kNone};
      case SSL_ERROR_SYSCALL:
        up_ = false;
        return fail(Errc::kIo, errno == 0 ? "connection lost"
                                          : fail_errno(errno, "connection lost").error().message);
      default:
        break;
    }
    const bool in_handshake = !::SSL_is_init_finished(ssl_.get());
    up_ = false;
    // The last error is TLS's own view; what led to it (a signature that does not verify) is
    // before.
    const unsigned long error = ::ERR_peek_last_error();
    if (in_handshake && is_without_certificate(error)) {
      ::ERR_clear_error();
      return fail(Errc::kProtocol, "it shows no certificate: it is not a shardswarm peer");
    }
    if (is_refusal(error) || ::SSL_get_verify_result(ssl_.get()) != X509_V_OK) {
      ::ERR_clear_error();
      return fail(Errc::kRefused,
                  "it has another cluster key than this node: compare what `shardswarm key show` "
                  "prints on both machines, then bring the right key to the other one: `shardswarm "
                  "key export` where it is, `shardswarm key import --force` where it is not, and "
                  "start the nodes again");
    }
    if (in_handshake && is_no_tls(error)) {
      ::ERR_clear_error();
      if (!dialer_) say_that_this_is_tls();
      if (!began_as_a_node_without_a_key()) {
        return fail(Errc::kProtocol, "it is not a shardswarm peer");
      }
      return fail(Errc::kRefused,
                  "it has no cluster key and this node has one: run `shardswarm key export` here "
                  "and `shardswarm key import` there, and start that node again, without "
                  "--insecure if it has that");
    }
    return fail(Errc::kIo, "TLS: " + openssl_error());
  }

  Socket socket_;  // the BIO's
  bool dialer_;
  SslPtr ssl_;
  std::unique_ptr<Transport> in_kernel_;  // what sends, if the kernel encrypts
  bool up_ = false;                       // close_notify may be sent
};

}  // namespace

std::unique_ptr<Transport> make_tls_transport(int fd, bool dialer, const Identity& identity,
                                              bool in_kernel) {
  return std::make_unique<TlsTransport>(fd, dialer, identity, in_kernel);
}

// A socket that is not connected is refused for that, where TLS is known at all.
bool kernel_has_tls() {
#ifdef TCP_ULP
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) return false;
  const bool has =
      ::setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0 || errno == ENOTCONN;
  ::close(fd);
  return has;
#else
  return false;
#endif
}

}  // namespace shardswarm
