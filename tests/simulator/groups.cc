#include "simulator/groups.h"

#include <array>
#include <utility>

#include "piece/selection_text.h"

namespace shardswarm::sim {
namespace {

constexpr std::uint32_t kNodesMax = 100'000;
constexpr std::uint32_t kPartsMax = 1024;  // stages, slices

struct Group {
  NodeSpec node;
  bool selects = false;
  std::optional<std::uint32_t> count;
  std::optional<std::uint32_t> replicas;
  std::optional<std::uint32_t> stages;
  std::optional<std::uint32_t> slices;
  std::vector<std::string> sliced;  // globs of tensors
  Duration every{};                 // between the joins of two nodes
};

Result<void> read_behaviour(Behaviour& to, const Value& value) {
  std::string text;
  if (auto done = value.read(text); !done) return done;
  if (text != "ordinary" && text != "hoards") return value.error("is not ordinary or hoards");
  to = text == "hoards" ? Behaviour::kHoards : Behaviour::kOrdinary;
  return {};
}

Result<void> read_site(std::string& to, const Value& value) {
  if (auto done = value.read(to); !done) return done;
  if (!valid_site(to)) return value.error("is no site: 64 letters, digits, '.', '_', '-', '/'");
  return {};
}

Result<void> read_leaves(std::optional<Duration>& to, const Value& value) {
  return value.read(to.emplace());
}

Result<void> read_number(std::optional<std::uint32_t>& to, const Value& value, std::uint32_t max) {
  return value.read_count(to.emplace(), max);
}

// As the command line takes it, or as an object.
Result<void> read_selection(Group& group, const Value& value) {
  group.selects = true;
  const auto* text = value.json().get_ptr<const std::string*>();
  if (!text && !value.json().is_object()) return value.error("is neither text nor an object");
  auto selection = text ? parse_selection(*text) : parse_selection_json(value.json().dump());
  if (!selection) return value.error("is wrong: " + selection.error().message);
  group.node.selection = std::move(*selection);
  return {};
}

// "10s" for all, or {"from":"1s","every":"500ms"} one after the other.
Result<void> read_joins(Group& group, const Value& value) {
  static constexpr std::array<Member<Group>, 2> kMembers = {{
      {"from", [](Group& g, const Value& v) { return v.read(g.node.joins); }},
      {"every", [](Group& g, const Value& v) { return v.read(g.every); }},
  }};
  if (!value.json().is_object()) return value.read(group.node.joins);
  return read_members<Group>(group, value, kMembers);
}

// What may stand in "defaults" too.
constexpr std::array<Member<NodeSpec>, 9> kNodeMembers = {{
    {"up", [](NodeSpec& n, const Value& v) { return v.read_rate(n.up); }},
    {"down", [](NodeSpec& n, const Value& v) { return v.read_rate(n.down); }},
    {"latency", [](NodeSpec& n, const Value& v) { return v.read(n.latency); }},
    {"disk", [](NodeSpec& n, const Value& v) { return v.read_rate(n.disk); }},
    {"hash", [](NodeSpec& n, const Value& v) { return v.read_rate(n.hash); }},
    {"rack", [](NodeSpec& n, const Value& v) { return v.read(n.rack); }},
    {"site", [](NodeSpec& n, const Value& v) { return read_site(n.site, v); }},
    {"peers", [](NodeSpec& n, const Value& v) { return v.read(n.peers); }},
    {"behaviour", [](NodeSpec& n, const Value& v) { return read_behaviour(n.behaviour, v); }},
}};

// A member of kNodeMembers, of a group's node.
template <std::size_t I>
Result<void> of_node(Group& group, const Value& value) {
  return kNodeMembers[I].read(group.node, value);
}

template <std::size_t... I>
constexpr auto group_members(std::index_sequence<I...>) {
  return std::array<Member<Group>, sizeof...(I) + 10>{{
      {kNodeMembers[I].name, of_node<I>}...,
      {"name", [](Group& g, const Value& v) { return v.read(g.node.name); }},
      {"seed", [](Group& g, const Value& v) { return v.read(g.node.seed); }},
      {"select", read_selection},
      {"joins", read_joins},
      {"leaves", [](Group& g, const Value& v) { return read_leaves(g.node.leaves, v); }},
      {"count", [](Group& g, const Value& v) { return read_number(g.count, v, kNodesMax); }},
      {"replicas", [](Group& g, const Value& v) { return read_number(g.replicas, v, kNodesMax); }},
      {"stages", [](Group& g, const Value& v) { return read_number(g.stages, v, kPartsMax); }},
      {"slices", [](Group& g, const Value& v) { return read_number(g.slices, v, kPartsMax); }},
      {"sliced", [](Group& g, const Value& v) { return v.read(g.sliced); }},
  }};
}
constexpr auto kGroupMembers = group_members(std::make_index_sequence<kNodeMembers.size()>());

Result<void> check_group(const Group& group, const Value& value) {
  const bool split = group.stages || group.slices;
  if (group.node.name.empty()) return value.error("has no name");
  if (split && group.count) return value.error("is split: say replicas, not count");
  if (!split && group.replicas) return value.error("has replicas without stages or slices");
  if (group.slices.has_value() == group.sliced.empty()) {
    return value.error("needs both slices and sliced, the globs of the sliced tensors");
  }
  if (group.node.seed && (split || group.selects)) return value.error("seeds and selects");
  if (group.node.seed && group.node.behaviour == Behaviour::kHoards) {
    return value.error("seeds and hoards");
  }
  return {};
}

NodeSpec node_of(const Group& group, std::uint32_t stage, std::uint32_t slice, std::uint32_t number,
                 std::uint32_t joined_before) {
  NodeSpec node = group.node;
  if (group.stages) {
    node.name += "-" + std::to_string(stage);
    node.selection.stages.push_back({stage, *group.stages});
  }
  if (group.slices) {
    node.name += "-" + std::to_string(slice);
    for (const std::string& glob : group.sliced) {
      node.selection.slices.push_back({glob, slice, *group.slices});
    }
  }
  if (group.count || group.replicas) node.name += "-" + std::to_string(number);
  node.joins += group.every * joined_before;
  return node;
}

}  // namespace

Result<void> read_defaults(NodeSpec& defaults, const Value& value) {
  return read_members<NodeSpec>(defaults, value, kNodeMembers);
}

Result<void> read_group(std::vector<NodeSpec>& nodes, const NodeSpec& defaults,
                        const Value& value) {
  Group group{.node = defaults};
  if (auto done = read_members<Group>(group, value, kGroupMembers); !done) return done;
  if (auto done = check_group(group, value); !done) return done;
  const std::uint32_t stages = group.stages.value_or(1);
  const std::uint32_t slices = group.slices.value_or(1);
  const std::uint32_t copies = group.replicas.value_or(group.count.value_or(1));
  const std::uint64_t size = std::uint64_t{stages} * slices * copies;
  if (nodes.size() + size > kNodesMax) {
    return value.error("makes more than " + std::to_string(kNodesMax) + " nodes");
  }
  std::uint32_t before = 0;
  for (std::uint32_t stage = 1; stage <= stages; ++stage) {
    for (std::uint32_t slice = 0; slice < slices; ++slice) {
      for (std::uint32_t number = 1; number <= copies; ++number) {
        nodes.push_back(node_of(group, stage, slice, number, before++));
      }
    }
  }
  return {};
}

}  // namespace shardswarm::sim
