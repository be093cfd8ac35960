#include "bench/lan/tool.h"

#include <fmt/format.h>

namespace shardswarm::bench {
namespace {

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

// What every shardswarm node is told. Nothing of the user's own configuration counts.
Command our_node(const Transfer& transfer, const NodeFiles& files, const std::string& address,
                 std::vector<std::string> words) {
  append(words, {"--listen", fmt::format("{}:{}", address, kPort), "--state", files.state});
  if (transfer.key_file.empty()) {
    words.push_back("--insecure");
  } else {
    append(words, {"--key", files.directory + "/" + transfer.key_file});
  }
  if (transfer.engine != "auto") append(words, {"--io", transfer.engine});
  return {.argv = std::move(words),
          .env = {{"XDG_STATE_HOME", files.directory + "/xdg"},
                  {"XDG_CONFIG_HOME", files.directory + "/xdg"},
                  {"SHARDSWARM_KEY", ""}}};
}

Json object_in(std::string_view line) {
  Json json = Json::parse(line, nullptr, false);
  return json.is_object() ? json : Json::object();
}

bool is_event(const Json& json, const char* name) {
  const auto found = json.find("event");
  return found != json.end() && *found == name;
}

std::optional<std::uint64_t> number_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

Command rival(const Tool& tool, const Programs& programs, const NodeFiles& files,
              const std::vector<std::string>& words) {
  std::vector<std::string> argv = {fmt::format("{}/{}.py", programs.rivals, tool.name)};
  append(argv, words);
  append(argv, {"--state", files.state, "--settings", tool.settings.dump()});
  if (!files.prepared.empty()) append(argv, {"--prepared", files.prepared});
  return {.argv = std::move(argv), .env = {{"PYTHONDONTWRITEBYTECODE", "1"}}};
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ","));
}

}  // namespace

Command seed_command(const Tool& tool, const Transfer& transfer, const Programs& programs,
                     const NodeFiles& files, const std::string& address) {
  if (!tool.ours()) {
    return rival(tool, programs, files, {"seed", "--dir", files.model, "--listen", address});
  }
  std::vector<std::string> words = {programs.shardswarm, "seed", files.model};
  append(words, transfer.seed_arguments);
  return our_node(transfer, files, address, std::move(words));
}

Command fetch_command(const Tool& tool, const Transfer& transfer, const Programs& programs,
                      const NodeFiles& files, const std::string& address, const Meeting& meeting,
                      const std::string& stage) {
  if (!tool.ours()) {
    std::vector<std::string> peers = meeting.more_sources;
    append(peers, meeting.fetchers);
    return rival(tool, programs, files,
                 {"fetch", "--source", meeting.source, "--peers", joined(peers), "--out",
                  files.model, "--listen", address, "--manifest", files.manifest});
  }
  // They go on serving until all have ended, as machines of a cluster do.
  std::vector<std::string> words = {programs.shardswarm, "fetch",  meeting.ticket, "--to",
                                    files.model,         "--json", "--linger",     "forever"};
  if (!transfer.reuse) words.emplace_back("--no-reuse");
  // Fetchers learn of each other by the swarm; sources know nobody.
  for (const std::string& source : meeting.more_sources) {
    append(words, {"--peer", fmt::format("{}:{}", source, kPort)});
  }
  if (!stage.empty()) append(words, {"--stage", stage});
  append(words, transfer.fetch_arguments);
  return our_node(transfer, files, address, std::move(words));
}

std::optional<std::string> ready_of(const Tool& tool, std::string_view line) {
  if (tool.ours()) return std::string(line);
  if (!is_event(object_in(line), "ready")) return std::nullopt;
  return std::string();
}

std::optional<Done> done_of(const Tool& tool, std::string_view line) {
  const Json json = object_in(line);
  if (!is_event(json, "done")) return std::nullopt;
  Done done;
  if (!tool.ours()) {
    const auto verified = json.find("verified");
    done.verified = verified != json.end() && *verified == true;
    const auto from = json.find("fetched_from");
    if (from == json.end() || !from->is_object()) return done;
    done.fetched_from.emplace();
    for (const auto& [address, bytes] : from->items()) {
      if (bytes.is_number_unsigned()) (*done.fetched_from)[address] = bytes.get<std::uint64_t>();
    }
    return done;
  }
  done.verified = true;  // it counts nothing else as there
  done.wanted_bytes = number_in(json, "wanted_bytes");
  done.duplicate_bytes = number_in(json, "duplicate_bytes");
  done.peak_private_bytes = number_in(json, "peak_private_bytes");
  done.fetched_from.emplace();
  const auto peers = json.find("peers");
  for (const Json& peer : peers != json.end() ? *peers : Json::array()) {
    const auto bytes = number_in(peer, "fetched_bytes");
    if (bytes && peer.contains("address") && peer["address"].is_string()) {
      (*done.fetched_from)[peer["address"].get<std::string>()] += *bytes;
    }
  }
  return done;
}

}  // namespace shardswarm::bench
