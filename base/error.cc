#include "base/error.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace shardswarm {

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::kInternal:
      return "internal";
    case Errc::kUsage:
      return "usage";
    case Errc::kNotFound:
      return "not-found";
    case Errc::kIo:
      return "io";
    case Errc::kNoSpace:
      return "no-space";
    case Errc::kPermission:
      return "permission";
    case Errc::kMalformed:
      return "malformed";
    case Errc::kLimit:
      return "limit";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kBusy:
      return "busy";
    case Errc::kForeign:
      return "foreign";
    case Errc::kUnreachable:
      return "unreachable";
    case Errc::kStalled:
      return "stalled";
    case Errc::kRefused:
      return "refused";
    case Errc::kProtocol:
      return "protocol";
    case Errc::kVersion:
      return "version";
    case Errc::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::unexpected<Error> fail_errno(int errno_value, std::string_view what) {
  Errc code = Errc::kIo;
  switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
      code = Errc::kNoSpace;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = Errc::kPermission;
      break;
    case ENOENT:
      code = Errc::kNotFound;
      break;
    default:
      break;
  }
  return fail(code, std::string(what) + ": " + std::generic_category().message(errno_value));
}

}  // namespace shardswarm
