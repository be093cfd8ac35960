#include "bench/lan/cluster.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bench/lan/deploy.h"

namespace shardswarm::bench {
namespace {

constexpr std::chrono::seconds kBoxPatience{60};

Programs programs_here(const Options& options) {
  return {.bench = (options.programs / "shardswarm-bench").string(),
          .shardswarm = (options.programs / "shardswarm").string(),
          .make_checkpoint = (options.programs / "shardswarm-make-checkpoint").string(),
          .rivals = (options.root / "bench" / "rivals").string()};
}

// A job step of one task on one node of our allocation, beside whatever else runs there.
std::vector<std::string> srun_words(const std::string& node) {
  std::vector<std::string> words = {"srun",       "--overlap",    "--nodes=1",
                                    "--ntasks=1", "--unbuffered", "--nodelist=" + node};
  if (const char* cpus = std::getenv("SLURM_CPUS_ON_NODE")) {
    words.push_back(fmt::format("--cpus-per-task={}", cpus));
  }
  return words;
}

Result<std::vector<HostSpec>> hosts_from_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(Errc::kNotFound, fmt::format("cannot read {}", path));
  auto hosts = parse_hosts(text.str());
  if (!hosts) return fail(Errc::kUsage, fmt::format("{}: {}", path, hosts.error().message));
  return hosts;
}

Result<std::vector<HostSpec>> hosts_from_slurm(const char* list) {
  const auto nodes = expand_node_list(list);
  if (!nodes) return std::unexpected(nodes.error());
  std::vector<HostSpec> hosts;
  for (const std::string& node : *nodes) {
    hosts.push_back({.name = node, .reach = Reach::kSlurm, .target = node});
  }
  return hosts;
}

// What --rate, --up and --down say of links that the hosts file is silent about. Lists with commas
// are the network in a box's alone.
Result<void> add_rates(const Options& options, std::vector<HostSpec>& hosts) {
  for (HostSpec& host : hosts) {
    for (const auto& [text, rate] :
         {std::pair{&options.up, &host.up}, std::pair{&options.down, &host.down}}) {
      const std::string& said = text->empty() ? options.rate : *text;
      if (*rate || said.empty()) continue;
      const auto parsed = parse_rate(said);
      if (!parsed) return std::unexpected(parsed.error());
      *rate = *parsed;
    }
  }
  return {};
}

}  // namespace

Cluster::~Cluster() {
  for (const auto& link : links_) link->leave();  // side by side
  links_.clear();
  if (!box_) return;
  box_->close_stdin();
  loop_.wait_anyway([this] { return box_->ended().has_value(); }, kBoxPatience);
}

Result<std::unique_ptr<Cluster>> Cluster::start(Loop& loop, const Options& options,
                                                std::size_t wanted) {
  auto cluster = std::make_unique<Cluster>(loop);
  auto hosts = cluster->hosts_of(options, wanted);
  if (!hosts) return std::unexpected(hosts.error());
  for (HostSpec& host : *hosts) {
    if (auto launched = cluster->launch(options, std::move(host)); !launched) {
      return std::unexpected(launched.error());
    }
  }
  for (const auto& link : cluster->links_) {
    const std::string& own = link->host().directory;
    if (auto said = link->hello(own.empty() ? options.directory : own); !said) {
      return std::unexpected(said.error());
    }
    if (auto aligned = link->align(); !aligned) return std::unexpected(aligned.error());
  }
  return cluster;
}

Result<std::vector<HostSpec>> Cluster::hosts_of(const Options& options, std::size_t wanted) {
  if (options.namespaces > 0) return make_namespaces(options, options.namespaces);
  const char* slurm = std::getenv("SLURM_JOB_NODELIST");
  Result<std::vector<HostSpec>> hosts;
  if (!options.hosts_file.empty()) {
    hosts = hosts_from_file(options.hosts_file);
  } else if (slurm != nullptr && options.local == 0) {
    hosts = hosts_from_slurm(slurm);
  } else {
    // All traffic goes through one interface without a rate.
    return loopback_hosts(options.local > 0 ? options.local : wanted);
  }
  if (!hosts) return hosts;
  if (auto added = add_rates(options, *hosts); !added) return std::unexpected(added.error());
  return hosts;
}

Result<std::vector<HostSpec>> Cluster::make_namespaces(const Options& options, std::size_t count) {
  const auto or_rate = [&](const std::string& text) {
    return text.empty() ? (options.rate.empty() ? "200mbit" : options.rate) : text;
  };
  Command command{.argv = {"/usr/bin/python3", (options.root / "tools" / "netbox.py").string(),
                           "hold", "--hosts", std::to_string(count), "--up", or_rate(options.up),
                           "--down", or_rate(options.down)},
                  .env = {{"PYTHONDONTWRITEBYTECODE", "1"}},
                  .dies_with_us = false};
  std::optional<std::string> said;
  auto box = loop_.processes().start(command, [&said](std::string_view line) { said = line; }, {});
  if (!box) return std::unexpected(box.error());
  box_ = std::move(*box);
  if (auto waited =
          loop_.wait([&] { return said || box_->ended(); }, kBoxPatience, "network in a box");
      !waited) {
    return std::unexpected(waited.error());
  }
  if (!said) return fail(Errc::kPermission, box_->ended()->text());
  const Json json = Json::parse(*said, nullptr, false);
  std::vector<HostSpec> hosts;
  for (const Json& host : json.is_array() ? json : Json::array()) {
    hosts.push_back({.name = host.value("name", ""),
                     .reach = Reach::kNamespace,
                     .target = host.value("namespace", ""),
                     .address = host.value("address", ""),
                     .up = host.value("up", 0.0),
                     .down = host.value("down", 0.0)});
  }
  return hosts;
}

Result<void> Cluster::launch(const Options& options, HostSpec host) {
  Programs programs = programs_here(options);
  std::vector<std::string> words;
  if (host.reach == Reach::kSsh) {
    spdlog::debug("{}: programs", host.name);
    auto deployed = deploy(loop_, options, host);
    if (!deployed) return std::unexpected(deployed.error());
    programs = std::move(*deployed);
    words = ssh_words(options, host);
    words.push_back("exec " + shell_quoted(programs.bench) + " agent");
  } else {
    if (host.reach == Reach::kNamespace) words = {"ip", "netns", "exec", host.target};
    if (host.reach == Reach::kSlurm) words = srun_words(host.target);
    words.insert(words.end(), {programs.bench, "agent"});
  }
  auto link = AgentLink::start(loop_, std::move(host), {.argv = std::move(words)});
  if (!link) return std::unexpected(link.error());
  links_.push_back(std::move(*link));
  programs_.push_back(std::move(programs));
  return {};
}

std::string Cluster::host_of(std::string_view address) const {
  for (const auto& link : links_) {
    const std::string& known = link->address();
    if (address == known || (address.starts_with(known) && address[known.size()] == ':') ||
        address.starts_with(fmt::format("[{}]:", known))) {
      return link->host().name;
    }
  }
  return {};
}

}  // namespace shardswarm::bench
