#include "cli/left_out.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/format.h"
#include "cli/json.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

constexpr std::size_t kLinesMax = 10;    // files that people are shown
constexpr std::size_t kListedMax = 100;  // files that programs are told of

}  // namespace

std::string preset_text(const Selection& asked, const Selection& parts,
                        const std::string& engine_setting) {
  if (asked.preset.empty()) return {};
  std::string text = fmt::format("{} means {}\n", describe(asked), describe(parts));
  if (!engine_setting.empty()) {
    text += fmt::format("the engine needs {} on every rank\n", engine_setting);
  }
  return text;
}

std::string left_out_text(const LeftOutReport& left_out) {
  if (left_out.files.empty()) return {};
  std::string text = fmt::format("left out: {}, {}\n", count_text(left_out.files.size(), "file"),
                                 bytes_text(left_out.bytes));
  // The largest say most.
  std::vector<LeftOut> files = left_out.files;
  std::ranges::sort(files, [](const LeftOut& a, const LeftOut& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.path < b.path;
  });
  for (std::size_t i = 0; i < std::min(files.size(), kLinesMax); ++i) {
    text += fmt::format("  {} ({}, {})\n", files[i].path, bytes_text(files[i].bytes),
                        why_text(files[i].why));
  }
  if (files.size() > kLinesMax) text += fmt::format("  and {} more\n", files.size() - kLinesMax);
  return text + fmt::format("{} with {}, or without any selection\n",
                            files.size() == 1 ? "it comes" : "they come", left_out.flags);
}

void put_selection(Json& fields, const Selection& parts, const std::string& engine_setting,
                   const LeftOutReport& left_out) {
  Json files = Json::array();
  for (std::size_t i = 0; i < std::min(left_out.files.size(), kListedMax); ++i) {
    const LeftOut& file = left_out.files[i];
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"why", why_name(file.why)}});
  }
  fields["parts"] = describe(parts);
  fields["engine_setting"] = engine_setting;
  fields["left_out"] = std::move(files);
  fields["left_out_files"] = left_out.files.size();
  fields["left_out_bytes"] = left_out.bytes;
  fields["left_out_flags"] = left_out.flags;
}

}  // namespace shardswarm::cli
