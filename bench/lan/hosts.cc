#include "bench/lan/hosts.h"

#include <fmt/format.h>

#include <charconv>
#include <set>

namespace shardswarm::bench {
namespace {

constexpr std::size_t kNodesMax = 4096;

template <class T>
bool whole_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r";
  std::vector<std::string_view> words;
  for (std::size_t at = line.find_first_not_of(kSpace); at != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(kSpace, at), line.size());
    words.push_back(line.substr(at, end - at));
    at = line.find_first_not_of(kSpace, end);
  }
  return words;
}

Result<void> set_rate(std::string_view text, std::optional<double>& rate) {
  const auto parsed = parse_rate(text);
  if (!parsed) return std::unexpected(parsed.error());
  rate = *parsed;
  return {};
}

Result<void> set_attribute(HostSpec& host, std::string_view word) {
  const std::size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
  if (value.empty()) return fail(Errc::kUsage, fmt::format("'{}' is not NAME=VALUE", word));
  if (key == "name") {
    host.name = value;
  } else if (key == "address") {
    host.address = value;
  } else if (key == "dir") {
    host.directory = value;
  } else if (key == "up") {
    return set_rate(value, host.up);
  } else if (key == "down") {
    return set_rate(value, host.down);
  } else if (key == "rate") {
    if (auto set = set_rate(value, host.up); !set) return set;
    host.down = host.up;
  } else {
    return fail(Errc::kUsage,
                fmt::format("no '{}': there are name, address, dir, rate, up and down", key));
  }
  return {};
}

Result<HostSpec> parse_host(const std::vector<std::string_view>& words) {
  HostSpec host{.reach = Reach::kSsh};
  std::string_view target = words.front();
  // More than one colon: an IPv6 address, which has its port in ssh_config.
  if (const std::size_t colon = target.rfind(':');
      colon != std::string_view::npos && target.find(':') == colon) {
    if (!whole_number(target.substr(colon + 1), host.port) || host.port == 0) {
      return fail(Errc::kUsage, fmt::format("'{}' has no port after ':'", target));
    }
    target = target.substr(0, colon);
  }
  // ssh would take it for an option.
  if (target.empty() || target.front() == '-') {
    return fail(Errc::kUsage, fmt::format("'{}' is no host", words.front()));
  }
  host.target = target;
  host.name = target.substr(target.find('@') + 1);
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (auto set = set_attribute(host, words[i]); !set) return std::unexpected(set.error());
  }
  return host;
}

// Appends prefix + each number of "01-03,7" to `names`.
Result<void> append_range(std::string_view range, const std::string& prefix,
                          std::vector<std::string>& names) {
  const std::size_t dash = range.find('-');
  const std::string_view low_text = range.substr(0, dash);
  std::uint64_t low = 0;
  bool good = whole_number(low_text, low);
  std::uint64_t high = low;
  if (dash != std::string_view::npos) {
    good = good && whole_number(range.substr(dash + 1), high) && low <= high;
  }
  if (!good) return fail(Errc::kUsage, fmt::format("'{}' is no range of node numbers", range));
  if (high - low >= kNodesMax) return fail(Errc::kLimit, "more nodes than 4096");
  for (std::uint64_t number = low; number <= high; ++number) {
    names.push_back(fmt::format("{}{:0{}}", prefix, number, low_text.size()));
  }
  return {};
}

// One name with ranges in brackets, any number of them.
Result<std::vector<std::string>> expand_name(std::string_view name) {
  std::vector<std::string> names = {""};
  while (!name.empty()) {
    const std::size_t open = std::min(name.find('['), name.size());
    const std::size_t close = name.find(']', open);
    if (open < name.size() && close == std::string_view::npos) {
      return fail(Errc::kUsage, fmt::format("'{}' opens a bracket that nothing closes", name));
    }
    std::vector<std::string> longer;
    for (const std::string& begun : names) {
      const std::string prefix = begun + std::string(name.substr(0, open));
      if (open == name.size()) {
        longer.push_back(prefix);
        continue;
      }
      std::string_view ranges = name.substr(open + 1, close - open - 1);
      for (bool more = true; more;) {
        const std::size_t comma = ranges.find(',');
        auto appended = append_range(ranges.substr(0, comma), prefix, longer);
        if (!appended) return std::unexpected(appended.error());
        if (longer.size() > kNodesMax) return fail(Errc::kLimit, "more nodes than 4096");
        more = comma != std::string_view::npos;
        if (more) ranges.remove_prefix(comma + 1);
      }
    }
    names = std::move(longer);
    name = open == name.size() ? std::string_view() : name.substr(close + 1);
  }
  return names;
}

}  // namespace

Result<double> parse_rate(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const double scale = unit == "kbit" ? 1e3 : unit == "mbit" ? 1e6 : unit == "gbit" ? 1e9 : 0;
  if (error != std::errc{} || scale == 0 || !(number > 0 && number < 1e9)) {
    return fail(Errc::kUsage, fmt::format("a rate is like 200mbit or 1gbit, not '{}'", text));
  }
  return number * scale;
}

Result<std::vector<HostSpec>> parse_hosts(std::string_view text) {
  std::vector<HostSpec> hosts;
  std::set<std::string> names;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto words = words_of(line.substr(0, line.find('#')));
    if (words.empty()) continue;
    auto host = parse_host(words);
    if (!host) {
      return fail(Errc::kUsage, fmt::format("line {}: {}", number, host.error().message));
    }
    if (!names.insert(host->name).second) {
      return fail(Errc::kUsage,
                  fmt::format("line {}: a second host '{}': say name=...", number, host->name));
    }
    hosts.push_back(std::move(*host));
  }
  return hosts;
}

Result<std::vector<std::string>> expand_node_list(std::string_view list) {
  std::vector<std::string> names;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t at = 0; at <= list.size(); ++at) {
    const char c = at < list.size() ? list[at] : ',';
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (depth < 0 || depth > 1) {
      return fail(Errc::kUsage, fmt::format("the brackets of '{}' do not match", list));
    }
    if (c != ',' || (depth > 0 && at < list.size())) continue;
    if (at == begin) return fail(Errc::kUsage, fmt::format("'{}' names an empty node", list));
    auto expanded = expand_name(list.substr(begin, at - begin));
    if (!expanded) return expanded;
    names.insert(names.end(), expanded->begin(), expanded->end());
    if (names.size() > kNodesMax) return fail(Errc::kLimit, "more nodes than 4096");
    begin = at + 1;
  }
  return names;
}

std::vector<HostSpec> loopback_hosts(std::size_t count) {
  std::vector<HostSpec> hosts;
  hosts.reserve(count);
  for (std::size_t host = 0; host < count; ++host) {
    hosts.push_back({.name = fmt::format("host-{}", host),
                     .reach = Reach::kHere,
                     .address = fmt::format("127.0.0.{}", host + 1)});
  }
  return hosts;
}

}  // namespace shardswarm::bench
