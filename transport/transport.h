// The bytes of one connection: plain TCP, or TLS 1.3 over it, behind one seam. A non-blocking
// socket; the owner waits for readiness. Not thread-safe. Who calls must block or ignore SIGPIPE.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "identity/identity.h"
#include "piece/digest.h"

namespace shardswarm {

enum class Wait : std::uint8_t { kNone, kReadable, kWritable };

// What an operation did: bytes moved (0 with wait != kNone: would block, wait for that readiness
// and call again; 0 with kNone: the other side closed in order).
struct Moved {
  std::size_t bytes = 0;
  Wait wait = Wait::kNone;
};

class Transport {
 public:
  virtual ~Transport() = default;

  // TLS handshake; plain TCP is done at once. kNone: done. kRefused: the peer's certificate is not
  // of our cluster, or it says that ours is not; says which.
  virtual Result<Wait> handshake() = 0;
  // The node id that TLS proved; nothing in plaintext. REQUIRES: handshake done.
  virtual std::optional<NodeId> peer_id() const = 0;

  // Reads into the spans in order. kIo on errors and truncation.
  virtual Result<Moved> read(std::span<const std::span<std::byte>> into) = 0;
  // `more`: other bytes follow at once (MSG_MORE).
  virtual Result<Moved> write(std::span<const std::byte> from, bool more) = 0;
  // Whether write_file works, without copying through user space; else the owner reads the bytes
  // into a buffer and calls write. REQUIRES: handshake done.
  virtual bool can_send_file() const = 0;
  // Moves up to `length` bytes of a file. kIo "shrank" when the file ends before.
  virtual Result<Moved> write_file(int fd, std::uint64_t offset, std::uint32_t length) = 0;
  // Tells the other side in order that nothing more comes: by FIN, under TLS by close_notify before
  // it, or alone. kWritable: call it again then.
  virtual Wait shutdown() = 0;
};

// The socket stays the caller's; it must be non-blocking and outlive the transport.
std::unique_ptr<Transport> make_plain_transport(int fd);
// `identity` must outlive the transport. `in_kernel`: what is sent is encrypted by the kernel,
// where it and OpenSSL agree on it, and then files are sent; else by this process.
std::unique_ptr<Transport> make_tls_transport(int fd, bool dialer, const Identity& identity,
                                              bool in_kernel);
// Whether TCP sockets here can be given TLS keys: Linux with its module `tls`, which is loaded for
// it if we may.
bool kernel_has_tls();

}  // namespace shardswarm
