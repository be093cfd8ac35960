#include "bench/lan/report_charts.h"

#include <algorithm>
#include <functional>

#include "bench/lan/report_axis.h"

namespace shardswarm::bench {
namespace {

constexpr std::size_t kNumbersUpTo = 12;  // nodes of an exchange whose cells have room for numbers
// Percent of the largest cell from which its text has the other colour: there both have a contrast
// of 4.5 to the style's mixtures, light and dark.
constexpr double kDeep = 67.2;
constexpr int kBarSteps = 8, kTimeSteps = 3, kRateSteps = 4;  // of the axes, at most
constexpr std::size_t kLongName = 8;  // characters from which names stand upright over columns

double share(double value, double whole) { return whole > 0 ? 100 * value / whole : 0; }

// The best of each tool: shardswarm's shown, the others' folded.
std::string folded(const std::vector<Entry>& entries,
                   const std::function<std::string(const Entry&)>& content) {
  std::string page;
  for (const Entry& entry : entries) {
    if (!entry.best) continue;
    add(page, R"(<details{}><summary>{} <small>repeat {}, {}</small></summary>{}</details>)",
        entry.tool == "shardswarm" ? " open" : "", escape(entry.tool),
        figure(entry.typical.at("repeat"), count),
        figure(entry.typical.at("makespan_seconds"), seconds), content(entry));
  }
  return page;
}

// --- makespans ---

double longest_run(const std::vector<Entry>& entries) {
  double longest = 0;
  for (const Entry& entry : entries) {
    for (const Place& run : entry.runs) {
      longest = std::max(longest, run.at("makespan_seconds").number());
    }
  }
  return longest;
}

std::string bar(const Entry& entry, const Axis& axis, double longest, const Place& bound) {
  const Place middle = entry.summary.at("median_makespan_seconds");
  const auto [least, most] = std::ranges::minmax(
      entry.runs, {}, [](const Place& run) { return run.at("makespan_seconds").number(); });
  const double from = least.at("makespan_seconds").number();
  const double to = most.at("makespan_seconds").number();
  std::string page;
  add(page,
      R"(<svg class="bar" role="img" aria-label="{0}: median {1}, {2} to {3} in {4} runs">)"
      R"(<title>{0}: median {1}, {2} to {3} in {4} runs</title>)",
      escape(entry.tool), seconds(middle.number()), seconds(from), seconds(to), entry.runs.size());
  for (const double tick : axis.ticks) {
    add(page, R"(<line class="grid" x1="{0:.3f}%" x2="{0:.3f}%" y1="0" y2="38"/>)",
        percent_of(axis, tick));
  }
  add(page, R"(<rect class="made" x="0" y="9" width="{:.3f}%" height="20" rx="2" {}/>)",
      share(middle.number(), longest), data_of(middle));
  if (!bound.null()) {
    const double at = share(bound.number(), longest);
    add(page, R"(<rect class="bound" x="{:.3f}%" width="1.5" {}/>)", at, data_of(bound));
  }
  if (entry.runs.size() > 1) {
    add(page, R"(<line class="spread" x1="{:.3f}%" x2="{:.3f}%" y1="19" y2="19"/>)",
        share(from, longest), share(to, longest));
  }
  for (const Place& run : entry.runs) {
    const Place made = run.at("makespan_seconds");
    add(page, R"(<circle cx="{:.3f}%" cy="19" r="3.5" {}><title>repeat {}: {}</title></circle>)",
        share(made.number(), longest), data_of(made), count(run.at("repeat").number()),
        seconds(made.number()));
  }
  return page + "</svg>";
}

std::string bar_label(const Entry& entry) {
  Json others = entry.summary.at("settings").json();
  others.erase("verify");
  std::string page = tool_label(entry);
  if (!others.empty()) add(page, "<small>{}</small>", escape(settings_text(others)));
  return page;
}

// --- rates ---

struct Scale {
  double seconds = 0;  // of all plots' width, for one tool
  double rate = 0;     // of all plots' height, bytes a second
  double link = 0;     // bytes a second, 0 if not known
};

Scale scale_of(const Place& result, const std::vector<Entry>& entries) {
  Scale scale;
  const Place link = result.at("scenario").at("rate_bits_per_second");
  if (!link.null()) scale.link = link.number() / 8;
  scale.rate = scale.link;
  for (const Entry& entry : entries) {
    if (!entry.best) continue;
    for (const Json& node : entry.typical.at("nodes").json()) {
      for (const Json& sample : node.at("rate")) {
        scale.rate = std::max({scale.rate, sample.at("received_bytes_per_second").get<double>(),
                               sample.at("sent_bytes_per_second").get<double>()});
      }
    }
  }
  return scale;
}

// A path of 1000 × 100 units. What comes after the last `done` is not shown.
std::string line_path(const Place& rate, const std::string& key, const Scale& scale) {
  std::string path;
  for (const Json& sample : rate.json()) {
    const double t = sample.at("t").get<double>();
    if (t < 0 || t > scale.seconds) continue;
    add(path, "{}{:.1f},{:.1f}", path.empty() ? "M" : "L", 10 * share(t, scale.seconds),
        100 - share(sample.at(key).get<double>(), scale.rate));
  }
  return path;
}

// The line, down to zero at both its ends.
std::string area_path(const std::string& line) {
  if (line.empty()) return line;
  const std::string first = line.substr(1, line.find(',') - 1);
  const std::size_t at = line.find_last_of("ML") + 1;
  const std::string last = line.substr(at, line.find(',', at) - at);
  return fmt::format("{}L{},100L{},100Z", line, last, first);
}

double peak(const Place& rate, const std::string& key) {
  double most = 0;
  for (const Json& sample : rate.json()) most = std::max(most, sample.at(key).get<double>());
  return most;
}

// Lines at the ticks of both axes.
std::string grid(const Axis& across, const Axis& upwards) {
  std::string path;
  for (const double tick : across.ticks) {
    add(path, "M{:.1f},0V100", 10 * percent_of(across, tick));
  }
  for (const double tick : upwards.ticks) {
    add(path, "M0,{:.1f}H1000", 100 - percent_of(upwards, tick));
  }
  return fmt::format(R"(<path class="grid" d="{}"/>)", path);
}

std::string rate_chart(const Place& node, const Scale& scale) {
  const Place rate = node.at("rate");
  const Place done = node.at("done_seconds");
  const bool source = node.at("role").json() == "source";
  const Axis across = time_axis(scale.seconds, kTimeSteps);
  const Axis upwards = rate_axis(8 * scale.rate, kRateSteps);
  std::string page;
  add(page,
      R"(<figure class="node"><figcaption><b title="{0}">{0}</b> <span>{1}{2}</span></figcaption>)",
      escape(node.at("name").text()), source ? "source" : "done ",
      source ? "" : figure(done, seconds));
  add(page, R"(<div class="plot"><small class="unit">{}</small>{})", upwards.unit,
      labels_beside(upwards));
  add(page,
      R"(<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" {} )"
      R"(aria-label="{}: received at up to {}, sent at up to {}">)",
      data_of(rate), escape(node.at("name").text()),
      bits_per_second(8 * peak(rate, "received_bytes_per_second")),
      bits_per_second(8 * peak(rate, "sent_bytes_per_second")));
  page += grid(across, upwards);
  if (scale.link > 0) {
    add(page, R"(<path class="link" d="M0,{0:.1f}H1000"/>)", 100 - share(scale.link, scale.rate));
  }
  add(page, R"(<path class="received" d="{}"/><path class="sent" d="{}"/>)",
      area_path(line_path(rate, "received_bytes_per_second", scale)),
      line_path(rate, "sent_bytes_per_second", scale));
  if (!source && !done.null()) {
    add(page, R"(<path class="done" d="M{:.1f},0V100"/>)",
        10 * share(done.number(), scale.seconds));
  }
  return page + "</svg>" + labels_below(across) + "</div></figure>";
}

// --- exchange ---

struct Exchange {
  std::vector<Place> all, receivers;
  double most = 0;        // bytes of the largest cell
  double unit = 1 << 20;  // bytes of one unit of the numbers
  bool known = false;     // the tool says who sent
};

Exchange exchange_of(const Place& run) {
  Exchange exchange{.all = run.at("nodes").elements(), .receivers = nodes(run, "fetcher")};
  for (const Place& node : exchange.receivers) {
    if (node.at("fetched_from").null()) continue;
    exchange.known = true;
    for (const auto& [name, value] : node.at("fetched_from").json().items()) {
      exchange.most = std::max(exchange.most, value.get<double>());
    }
  }
  if (exchange.most >= 10240.0 * exchange.unit) exchange.unit *= 1024;
  return exchange;
}

std::string number_in(const Exchange& exchange, const Place& place) {
  if (place.null()) return kNoFigure;
  const double value = place.number() / exchange.unit;
  return fmt::format(R"(<span class="n" {}>{:.{}f}</span>)", data_of(place), value,
                     value > 0 && value < 9.95 ? 1 : 0);
}

std::string exchange_cell(const Exchange& exchange, const Place& to, const std::string& from) {
  const Place sources = to.at("fetched_from");
  if (to.at("name").json() == from) return R"(<td class="self"></td>)";
  if (sources.null() || !sources.json().contains(from)) return R"(<td class="zero"></td>)";
  const Place sent = sources.at(from);
  const double part = share(sent.number(), exchange.most);
  return fmt::format(R"(<td class="{}" style="--v:{:.1f}%" title="{} to {}: {}">{}</td>)",
                     part > kDeep ? "heat deep" : "heat", part, escape(from),
                     escape(to.at("name").text()), bytes(sent.number()), number_in(exchange, sent));
}

std::string exchange_chart(const Entry& entry) {
  const Exchange exchange = exchange_of(entry.typical);
  if (!exchange.known) {
    return fmt::format("<p>{} does not say which peer sent what.</p>", escape(entry.tool));
  }
  std::size_t longest = 0;
  for (const Place& node : exchange.all) longest = std::max(longest, node.at("name").text().size());
  std::string page;
  add(page, R"(<div class="scroll"><table class="exchange{}{}" data-unit="{}"><thead>)",
      exchange.all.size() > kNumbersUpTo ? " dense" : "", longest > kLongName ? " upright" : "",
      exchange.unit);
  add(page, R"(<tr><td class="corner">to ↓ &nbsp; from →</td>)");
  for (const Place& node : exchange.all) {
    add(page, R"(<th scope="col"><span>{}</span></th>)", escape(node.at("name").text()));
  }
  page += R"(<th scope="col" class="total"><span>received</span></th></tr></thead><tbody>)";
  for (const Place& to : exchange.receivers) {
    add(page, R"(<tr><th scope="row">{}</th>)", escape(to.at("name").text()));
    for (const Place& from : exchange.all) {
      page += exchange_cell(exchange, to, from.at("name").text());
    }
    add(page, R"(<td class="total">{}</td></tr>)", number_in(exchange, to.at("received_bytes")));
  }
  page += R"(</tbody><tfoot><tr><th scope="row">sent</th>)";
  for (const Place& node : exchange.all) {
    add(page, R"(<td class="total">{}</td>)", number_in(exchange, node.at("sent_bytes")));
  }
  add(page, R"(<td></td></tr></tfoot></table></div><p class="note">{}, payload</p>)",
      exchange.unit > (1 << 20) ? "GiB" : "MiB");
  return page;
}

}  // namespace

std::string makespan_chart(const std::vector<Entry>& entries) {
  const double longest = longest_run(entries);
  const Axis axis = time_axis(longest, kBarSteps);
  // The same for all tools: it follows from the model and the links.
  const Entry& reference = ours(entries) ? *ours(entries) : entries.front();
  const Place bound = reference.typical.at("bound_seconds");
  std::string label;
  if (!bound.null()) {
    const double at = share(bound.number(), longest);
    add(label, R"(<span class="bound-label {}" style="left:{:.3f}%">bound {}</span>)",
        at > 50 ? "before" : "after", at, figure(bound, seconds));
  }
  std::string page;
  add(page,
      R"(<table class="bars"><thead><tr><td></td><td class="plot"><div>{}</div></td>)"
      R"(<th scope="col">median</th><th scope="col">vs. bound</th>)"
      R"(<th scope="col">vs. shardswarm</th></tr></thead><tbody>)",
      label);
  for (const Entry& entry : entries) {
    add(page,
        R"(<tr class="{}"><th scope="row">{}</th><td class="plot">{}</td><td class="num main">{}</td>)"
        R"(<td class="num">{}</td><td class="num">{}</td></tr>)",
        entry.tool == "shardswarm" ? "ours" : "rival", bar_label(entry),
        bar(entry, axis, longest, bound),
        figure(entry.summary.at("median_makespan_seconds"), seconds),
        figure(entry.summary.at("median_ratio"), times),
        figure(entry.summary.at("times_shardswarm"), times));
  }
  add(page,
      R"(</tbody><tfoot><tr><td></td><td class="plot">{}</td><td></td><td></td><td></td></tr></tfoot>)",
      labels_below(axis));
  return page + "</table>";
}

std::string rate_charts(const Place& result, const std::vector<Entry>& entries) {
  Scale scale = scale_of(result, entries);
  std::string page;
  add(page,
      R"(<p class="legend"><span class="key received">received</span><span class="key sent">sent</span>)");
  if (scale.link > 0) {
    add(page, R"(<span class="key link">link {}</span>)",
        figure(result.at("scenario").at("rate_bits_per_second"), bits_per_second));
  }
  add(page,
      R"(<span class="key done">all there</span></p><p class="note">The plots of all tools reach up to {}; )"
      R"(the time begins with the first fetcher and ends with the tool’s makespan.</p>)",
      derived("rate-scale", 8 * scale.rate, bits_per_second));
  return page + folded(entries, [&](const Entry& entry) {
           scale.seconds = entry.typical.at("makespan_seconds").number();
           std::string plots = R"(<div class="nodes">)";
           for (const Place& node : entry.typical.at("nodes").elements()) {
             plots += rate_chart(node, scale);
           }
           return plots + "</div>";
         });
}

std::string exchange_charts(const std::vector<Entry>& entries) {
  return folded(entries, exchange_chart);
}

}  // namespace shardswarm::bench
