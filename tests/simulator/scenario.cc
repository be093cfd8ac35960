#include "simulator/scenario.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "base/limits.h"
#include "piece/outline.h"
#include "piece/selection_text.h"
#include "scheduler/rules.h"
#include "simulator/groups.h"
#include "simulator/members.h"
#include "simulator/model.h"
#include "simulator/scenario_checkpoint.h"

namespace shardswarm::sim {
namespace {

constexpr std::uint32_t kPiecesMax = 500'000;  // one header of a tensor each: 50 MB of JSON
constexpr std::uint32_t kLayersMax = 1024;
constexpr std::uint32_t kSocketBytesMax = 1U << 30;
constexpr std::uint64_t kInAllBytesMax = std::uint64_t{1} << 40U;

// A path is relative to where the program runs.
Result<void> read_checkpoint_member(ModelShape& shape, const Value& value) {
  std::string directory;
  if (auto done = value.read(directory); !done) return done;
  auto checkpoint = read_checkpoint(directory);
  if (!checkpoint) return value.error("is no checkpoint: " + checkpoint.error().message);
  shape.checkpoint = std::move(*checkpoint);
  return {};
}

constexpr std::array<Member<ModelShape>, 4> kModelMembers = {{
    {"pieces", [](ModelShape& m, const Value& v) { return v.read_count(m.pieces, kPiecesMax); }},
    {"piece",
     [](ModelShape& m, const Value& v) {
       return v.read_bytes(m.piece_bytes, static_cast<std::uint32_t>(limits::kPieceBytesMax));
     }},
    {"layers", [](ModelShape& m, const Value& v) { return v.read_count(m.layers, kLayersMax); }},
    {"checkpoint", read_checkpoint_member},
}};

constexpr std::array<Member<RackSpec>, 3> kRackMembers = {{
    {"name", [](RackSpec& r, const Value& v) { return v.read(r.name); }},
    {"up", [](RackSpec& r, const Value& v) { return v.read_rate(r.up); }},
    {"down", [](RackSpec& r, const Value& v) { return v.read_rate(r.down); }},
}};

Result<void> read_set(Scenario& scenario, const Value& value) {
  std::string name;
  if (auto done = value.read(name); !done) return done;
  const auto rules = rule_set_from_name(name);
  if (!rules) {
    return value.error(fmt::format("is none of {}", fmt::join(kRuleSetNames, ", ")));
  }
  apply(*rules, scenario.core.download, scenario.core.upload);
  return {};
}

Result<void> read_degree(Scenario& scenario, const Value& value) {
  if (auto done = value.read_count(scenario.core.degree, limits::kDegree); !done) return done;
  if (scenario.core.degree < 2) return value.error("is below 2");
  return {};
}

Result<void> read_order(Scenario& scenario, const Value& value) {
  std::string text;
  if (auto done = value.read(text); !done) return done;
  if (text != "rarest" && text != "layers") return value.error("is not rarest or layers");
  scenario.order = text == "layers" ? FetchOrder::kLayers : FetchOrder::kRarest;
  return {};
}

// Rules of all nodes: one line each.
constexpr std::array<Member<Scenario>, 12> kRules = {{
    {"set", [](Scenario&, const Value&) { return Result<void>(); }},  // was read before
    {"degree", read_degree},
    {"have_delay_per_peer",
     [](Scenario& s, const Value& v) { return v.read(s.core.have_delay_per_peer); }},
    {"order", read_order},
    {"leases", [](Scenario& s, const Value& v) { return v.read(s.core.upload.leases); }},
    {"lease_min", [](Scenario& s, const Value& v) { return v.read(s.core.upload.lease_min); }},
    {"late_binding",
     [](Scenario& s, const Value& v) { return v.read(s.core.download.late_binding); }},
    {"stall", [](Scenario& s, const Value& v) { return v.read(s.core.download.stall); }},
    {"in_all", [](Scenario& s, const Value& v) { return v.read(s.core.download.in_all); }},
    {"in_all_min",
     [](Scenario& s, const Value& v) {
       return v.read_bytes(s.core.download.in_all_bytes_min, kInAllBytesMax);
     }},
    {"window_min",
     [](Scenario& s, const Value& v) {
       return v.read_bytes(s.core.download.window_bytes_min, limits::kCreditBytesMax);
     }},
    {"window_max",
     [](Scenario& s, const Value& v) {
       return v.read_bytes(s.core.download.window_bytes_max, limits::kCreditBytesMax);
     }},
}};

Result<void> read_rules(Scenario& scenario, const Value& value) {
  // A set comes first, wherever it stands: single rules go over it.
  if (value.json().contains("set")) {
    if (auto done = read_set(scenario, value.member("set")); !done) return done;
  }
  if (auto done = read_members<Scenario>(scenario, value, kRules); !done) return done;
  const DownloadOptions& download = scenario.core.download;
  if (download.window_bytes_min > download.window_bytes_max) {
    return value.error("has a window_min above window_max");
  }
  return {};
}

Result<void> read_racks(Scenario& scenario, const Value& value) {
  const auto racks = value.elements();
  if (!racks) return std::unexpected(racks.error());
  std::set<std::string> names;
  for (const Value& each : *racks) {
    RackSpec& rack = scenario.racks.emplace_back();
    if (auto done = read_members<RackSpec>(rack, each, kRackMembers); !done) return done;
    if (rack.name.empty()) return each.error("has no name");
    if (!names.insert(rack.name).second) return each.error("has the name of another rack");
  }
  return {};
}

// Groups need the defaults, which may stand behind them.
struct Draft {
  Scenario scenario;
  NodeSpec defaults;
  std::optional<Value> nodes;
};

Result<void> read_model(Draft& draft, const Value& value) {
  if (value.json().is_object() && value.json().contains("checkpoint") && value.json().size() > 1) {
    return value.error("has a checkpoint and more, which it would decide");
  }
  return read_members<ModelShape>(draft.scenario.model, value, kModelMembers);
}

Result<void> read_about(Draft&, const Value& value) {
  std::string for_people_only;
  return value.read(for_people_only);
}

constexpr std::array<Member<Draft>, 12> kMembers = {{
    {"name", [](Draft& d, const Value& v) { return v.read(d.scenario.name); }},
    {"about", read_about},
    {"model", read_model},
    {"defaults", [](Draft& d, const Value& v) { return read_defaults(d.defaults, v); }},
    {"racks", [](Draft& d, const Value& v) { return read_racks(d.scenario, v); }},
    {"nodes",
     [](Draft& d, const Value& v) {
       d.nodes = v;
       return Result<void>();
     }},
    {"learn", [](Draft& d, const Value& v) { return v.read(d.scenario.learn); }},
    {"rules", [](Draft& d, const Value& v) { return read_rules(d.scenario, v); }},
    {"socket",
     [](Draft& d, const Value& v) {
       return v.read_bytes(d.scenario.socket_bytes, kSocketBytesMax);
     }},
    {"quantum",
     [](Draft& d, const Value& v) {
       return v.read_bytes(d.scenario.quantum_bytes, kSocketBytesMax);
     }},
    {"turn", [](Draft& d, const Value& v) { return v.read(d.scenario.turn); }},
    {"limit", [](Draft& d, const Value& v) { return v.read(d.scenario.limit); }},
}};

std::unexpected<Error> wrong_node(const NodeSpec& node, const std::string& what) {
  return fail(Errc::kUsage, "node '" + node.name + "' " + what);
}

Result<void> check_nodes(const Scenario& scenario) {
  std::set<std::string> names;
  std::set<std::string> racks;
  for (const RackSpec& rack : scenario.racks) racks.insert(rack.name);
  for (const NodeSpec& node : scenario.nodes) {
    if (!names.insert(node.name).second) return wrong_node(node, "is there twice");
    if (!node.rack.empty() && !racks.contains(node.rack)) {
      return wrong_node(node, "stands in rack '" + node.rack + "', which is none");
    }
    if (node.leaves && *node.leaves <= node.joins) {
      return wrong_node(node, "leaves before it has joined");
    }
  }
  for (const NodeSpec& node : scenario.nodes) {
    for (const std::string& peer : node.peers) {
      if (!names.contains(peer) || peer == node.name) {
        return wrong_node(node, "has the peer '" + peer + "', which is no other node");
      }
    }
  }
  if (std::ranges::none_of(scenario.nodes, &NodeSpec::seed)) {
    return fail(Errc::kUsage, "nobody seeds: give one of the nodes \"seed\":true");
  }
  const auto finishes = [](const NodeSpec& node) {
    return !node.seed && !node.leaves && node.behaviour == Behaviour::kOrdinary;
  };
  if (std::ranges::none_of(scenario.nodes, finishes)) {
    return fail(Errc::kUsage, "nobody fetches who stays and does not hoard");
  }
  return {};
}

// That the model has what the nodes select.
Result<void> check_selections(const Scenario& scenario) {
  const auto manifest = make_manifest(scenario.model);
  const Outline outline = make_outline(*manifest);
  std::set<std::string> checked;
  for (const NodeSpec& node : scenario.nodes) {
    if (!checked.insert(describe(node.selection)).second) continue;
    const auto resolved = resolve(node.selection, *manifest, outline);
    if (!resolved)
      return wrong_node(node, "selects what is not there: " + resolved.error().message);
  }
  return {};
}

// What a path like "nodes.1.count" names; members that are not there are made.
Result<Json*> find_place(Json& json, const std::string& path) {
  Json* at = &json;
  std::istringstream names(path);
  for (std::string name; std::getline(names, name, '.');) {
    if (at->is_array()) {
      const bool number = !name.empty() && name.size() < 9 &&
                          name.find_first_not_of("0123456789") == std::string::npos;
      if (!number || std::stoul(name) >= at->size()) {
        return fail(Errc::kUsage, "no element '" + name + "' for " + path);
      }
      at = &(*at)[std::stoul(name)];
    } else if (at->is_object() || at->is_null()) {
      at = &(*at)[name];
    } else {
      return fail(Errc::kUsage, "nothing can stand below '" + name + "' of " + path);
    }
  }
  return at;
}

Result<void> set_member(Json& json, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == 0 || equals == std::string_view::npos) {
    return fail(Errc::kUsage, "'" + std::string(assignment) + "' does not read like PATH=VALUE");
  }
  const auto place = find_place(json, std::string(assignment.substr(0, equals)));
  if (!place) return std::unexpected(place.error());
  const std::string_view value = assignment.substr(equals + 1);
  Json as_json = Json::parse(value, nullptr, false);
  **place = as_json.is_discarded() ? Json(value) : std::move(as_json);
  return {};
}

}  // namespace

Result<Scenario> parse_scenario(std::string_view json, std::span<const std::string> set) {
  auto parsed = parse_json(json);
  if (!parsed) return std::unexpected(parsed.error());
  for (const std::string& assignment : set) {
    if (auto done = set_member(*parsed, assignment); !done) return std::unexpected(done.error());
  }
  Draft draft;
  const Value whole(*parsed, "");
  if (auto done = read_members<Draft>(draft, whole, kMembers); !done) {
    return std::unexpected(done.error());
  }
  if (draft.scenario.name.empty()) return fail(Errc::kUsage, "the scenario has no name");
  if (!draft.nodes) return fail(Errc::kUsage, "the scenario has no nodes");
  const auto groups = draft.nodes->elements();
  if (!groups) return std::unexpected(groups.error());
  for (const Value& group : *groups) {
    auto done = read_group(draft.scenario.nodes, draft.defaults, group);
    if (!done) return std::unexpected(done.error());
  }
  if (auto done = check_nodes(draft.scenario); !done) return std::unexpected(done.error());
  if (auto done = check_selections(draft.scenario); !done) return std::unexpected(done.error());
  return std::move(draft.scenario);
}

Result<Scenario> read_scenario(const std::filesystem::path& file,
                               std::span<const std::string> set) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) return fail(Errc::kNotFound, "cannot read " + file.string());
  auto scenario = parse_scenario(text.view(), set);
  if (!scenario) {
    return fail(scenario.error().code, file.string() + ": " + scenario.error().message);
  }
  return scenario;
}

}  // namespace shardswarm::sim
