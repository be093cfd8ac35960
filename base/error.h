// Errors are values: every fallible function of this project returns Result<T>.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace shardswarm {

// What went wrong, by what the caller can do about it. The command line maps each to an exit code.
enum class Errc : std::uint8_t {
  kInternal,     // our bug: an invariant of this program does not hold
  kUsage,        // arguments that make no sense, or a selection that the model cannot satisfy
  kNotFound,     // a file, model or peer that does not exist
  kIo,           // the operating system failed a read, write or socket call
  kNoSpace,      // the target has not enough space
  kPermission,   // the operating system denied access
  kMalformed,    // bytes that violate a format (safetensors header, manifest, frame, ledger)
  kLimit,        // bytes that are well formed but exceed a limit of base/limits.h
  kCorrupt,      // content that does not match its digest
  kBusy,         // another process holds the directory
  kForeign,      // the directory holds something else than what was asked for
  kUnreachable,  // no peer could be reached
  kStalled,      // peers were reached, but nothing came for the stall timeout
  kRefused,      // a cluster key is missing, or the certificates of both sides are of two clusters
  kProtocol,     // the peer broke the protocol
  kVersion,      // the peer speaks no protocol version that we speak
  kCancelled,    // the caller cancelled the operation
};

// Short name for logs and JSON, as "no-space".
std::string_view errc_name(Errc code);

struct Error {
  Errc code = Errc::kInternal;
  std::string message;  // one line: what failed, on which file/tensor/piece/peer, what to do
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code, std::string message) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

// The error of a system call, with errno mapped (ENOSPC, EDQUOT -> kNoSpace; EACCES, EPERM, EROFS
// -> kPermission; ENOENT -> kNotFound; else kIo). `what` reads like "cannot open /x/y".
std::unexpected<Error> fail_errno(int errno_value, std::string_view what);

}  // namespace shardswarm
