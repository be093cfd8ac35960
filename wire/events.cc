#include "wire/events.h"

#include <algorithm>
#include <span>

#include "base/bytes.h"
#include "base/limits.h"

namespace shardswarm {

std::string_view close_reason_name(CloseReason reason) {
  switch (reason) {
    case CloseReason::kDone:
      return "done";
    case CloseReason::kShutdown:
      return "shutdown";
    case CloseReason::kProtocolError:
      return "protocol-error";
    case CloseReason::kVersion:
      return "version";
    case CloseReason::kSelf:
      return "self";
    case CloseReason::kDuplicate:
      return "duplicate";
    case CloseReason::kBadData:
      return "bad-data";
    case CloseReason::kOverload:
      return "overload";
    case CloseReason::kTimeout:
      return "timeout";
    case CloseReason::kInternal:
      return "internal";
  }
  return "unknown";
}

bool valid_site(std::string_view site) {
  return site.size() <= limits::kSiteBytesMax && std::ranges::all_of(site, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-' || c == '/';
         });
}

std::uint32_t site_tag(std::string_view site) {
  if (site.empty()) return 0;
  return little_endian_at<std::uint32_t>(sha256(std::as_bytes(std::span(site))).bytes, 0);
}

}  // namespace shardswarm
