// Sets of rules, from what general swarms do to what is done here; for comparing them, in the
// simulator and between real processes. docs/scheduling.md has the figures.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shardswarm {

enum class RuleSet : std::uint8_t {
  kRarestFirst,   // 4 MiB in flight from each peer, first copies to whoever asks
  kSmallWindows,  // in flight: what the peer's rate x round trip needs
  kLeases,        // and a piece of which there is one copy is given to one peer
  kLateBinding,   // and that peer is chosen when the socket can take it: the default
};

inline constexpr std::array<std::string_view, 4> kRuleSetNames{"rarest-first", "small-windows",
                                                               "leases", "late-binding"};

constexpr std::optional<RuleSet> rule_set_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kRuleSetNames.size(); ++i) {
    if (kRuleSetNames[i] == name) return static_cast<RuleSet>(i);
  }
  return std::nullopt;
}

struct DownloadOptions;
struct UploadOptions;
void apply(RuleSet rules, DownloadOptions& download, UploadOptions& upload);

}  // namespace shardswarm
