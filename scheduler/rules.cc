#include "scheduler/rules.h"

#include "base/limits.h"
#include "scheduler/download.h"
#include "scheduler/upload.h"

namespace shardswarm {
namespace {

constexpr std::uint64_t kRarestFirstWindow = 4 * limits::kMiB;

}  // namespace

void apply(RuleSet rules, DownloadOptions& download, UploadOptions& upload) {
  if (rules == RuleSet::kRarestFirst) {
    download.window_bytes_min = download.window_bytes_max = kRarestFirstWindow;
  }
  upload.leases = rules >= RuleSet::kLeases;
  download.late_binding = rules >= RuleSet::kLateBinding;
}

}  // namespace shardswarm
