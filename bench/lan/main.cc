// shardswarm-bench: how fast a model gets to the machines of a LAN, beside other tools and the
// bound.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>

#include "bench/lan/agent.h"
#include "bench/lan/describe.h"
#include "bench/lan/report.h"
#include "bench/lan/scenario.h"
#include "bench/lan/session.h"
#include "bench/lan/table.h"

namespace {

using namespace shardswarm;
using namespace shardswarm::bench;

constexpr int kExitUsage = 2;

void add_hosts(CLI::App& app, Options& options) {
  auto* file = app.add_option("--hosts", options.hosts_file,
                              "File with a host a line, the source first: [USER@]HOST[:PORT] "
                              "[name=N] [address=IP] [dir=D] [rate=R] [up=R] [down=R]")
                   ->check(CLI::ExistingFile);
  auto* namespaces = app.add_option("--netns", options.namespaces,
                                    "So many network namespaces of this machine, with links of "
                                    "--rate; needs root")
                         ->check(CLI::Range(2, 250))
                         ->excludes(file);
  app.add_option("--local", options.local,
                 "So many nodes on this machine's loopback. Without any of these three: the nodes "
                 "of the Slurm job that this runs in, else as many as needed on loopback")
      ->check(CLI::Range(2, 250))
      ->excludes(file)
      ->excludes(namespaces);
  app.add_option("--rate", options.rate,
                 "Of the links, both ways: 200mbit, 10gbit; known ones give a bound");
  app.add_option("--up", options.up, "Instead of --rate; with --netns a list with commas, too");
  app.add_option("--down", options.down, "The same");
  app.add_option("--ssh", options.ssh, "The ssh command, with options")->capture_default_str();
  app.add_option("--remote-dir", options.remote_directory,
                 "Of hosts in the file: where our programs are copied to, from the home directory")
      ->capture_default_str();
  app.add_option("--dir", options.directory,
                 "For the data, on every host (default: /dev/shm, else the temporary directory)");
}

void add_model(CLI::App& app, Options& options) {
  auto* size = app.add_option("--size", options.size, "Of a checkpoint made for this; 2GiB")
                   ->transform(CLI::AsSizeValue(false));
  auto* layers = app.add_option("--layers", options.layers, "Its layers")
                     ->check(CLI::Range(1, 10'000))
                     ->capture_default_str();
  auto* vocabulary = app.add_option("--vocabulary", options.vocabulary, "Its vocabulary")
                         ->check(CLI::Range(1, 1 << 24))
                         ->capture_default_str();
  app.add_option("--model", options.model, "A checkpoint on the source's host instead")
      ->excludes(size)
      ->excludes(layers)
      ->excludes(vocabulary);
}

void add_tools(CLI::App& app, Options& options) {
  app.add_option("--rivals", options.rivals,
                 "all that are installed, none, or a list: libtorrent,curl,aria2,rsync")
      ->capture_default_str();
  app.add_flag("--whole-grid", options.whole_grid,
               "Every setting of a rival in every round, not just the fastest of the warm-up");
  app.add_option("--repeat", options.repeats, "Counted rounds, after one of warm-up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--stages", options.stages, "Of stages: pipeline stages")
      ->check(CLI::Range(1, 250))
      ->capture_default_str();
  app.add_option("--replicas", options.replicas, "Of stages: fetchers of each")
      ->check(CLI::Range(1, 250))
      ->capture_default_str();
  app.add_flag("--tls", options.tls, "shardswarm with a cluster key");
  app.add_option("--engine", options.engine, "shardswarm's disk engine")
      ->check(CLI::IsMember({"auto", "uring", "posix"}))
      ->capture_default_str();
  app.add_flag("--cold", options.cold,
               "Before each run the sources' files leave the page cache; not with --dir in memory");
  app.add_option("--seed-args", options.seed_arguments, "More flags for `shardswarm seed`");
  app.add_option("--fetch-args", options.fetch_arguments, "More flags for `shardswarm fetch`");
  app.add_option("--patience", options.patience_seconds, "Seconds until a run counts as failed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void find_neighbours(Options& options) {
  options.programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  options.root = options.programs;
  while (!exists(options.root / "tools" / "netbox.py") && options.root.has_relative_path()) {
    options.root = options.root.parent_path();
  }
}

Result<void> write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return fail(Errc::kIo, fmt::format("cannot write {}", path));
  return {};
}

// 1 if something could not be written, or a run failed.
int report(const Measurement& measurement, const Options& options) {
  fmt::print("{}", table_of(measurement));
  const Json json = to_json(measurement);
  Result<void> done;
  if (!options.json_file.empty()) {
    done =
        write(options.json_file, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  if (done && !options.html_file.empty()) {
    const auto page = html_report(json);
    done = page ? write(options.html_file, *page) : std::unexpected(page.error());
  }
  if (!done) spdlog::error("{}", done.error().message);
  const bool failed = std::ranges::any_of(
      measurement.runs, [](const RunResult& run) { return run.error.has_value(); });
  return done && !failed ? 0 : 1;
}

// `shardswarm-bench report RESULT -o PAGE`: the page of a result that was written with --json.
int run_report(int argc, char** argv) {
  CLI::App app{"A page with figures and charts from the JSON of a measurement."};
  std::string source, page_file;
  app.add_option("RESULT", source, "As --json writes it")->required()->check(CLI::ExistingFile);
  app.add_option("-o,--output", page_file, "The page")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  std::ifstream file(source, std::ios::binary);
  const Json json = Json::parse(file, nullptr, false);
  if (json.is_discarded()) {
    spdlog::error("{} is no JSON", source);
    return 1;
  }
  const auto page = html_report(json);
  const Result<void> done = page ? write(page_file, *page) : std::unexpected(page.error());
  if (!done) spdlog::error("{}", done.error().message);
  return done ? 0 : 1;
}

int run(int argc, char** argv) {
  Options options;
  options.command = command_line(std::vector<std::string>(argv, argv + argc));
  CLI::App app{"How fast a model gets to the machines of a LAN, beside other tools and the bound."};
  app.footer("shardswarm-bench report RESULT -o PAGE makes the page of an earlier --json.");
  app.add_option("SCENARIO", options.scenario,
                 "pair, broadcast, stages, late-join, source-lost, resume or reuse")
      ->required()
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kScenarios), std::end(kScenarios))));
  add_hosts(app, options);
  add_model(app, options);
  add_tools(app, options);
  app.add_option("--json", options.json_file, "File for all that was measured");
  app.add_option("--html", options.html_file, "File for the same as a page: figures and charts");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  find_neighbours(options);
  Loop loop;
  const auto measured = measure(loop, options);
  if (measured) return report(*measured, options);
  spdlog::error("{}", measured.error().message);
  return loop.interrupted() ? 130 : measured.error().code == Errc::kUsage ? kExitUsage : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.size() == 1 && words[0] == "agent") return run_agent();
  if (words.size() == 2 && words[0] == "digest") return run_digest(argv[2]);
  if (words.size() == 2 && words[0] == "evict") return run_evict(argv[2]);
  auto log = spdlog::stderr_logger_st("bench");
  log->set_pattern("%v");
  spdlog::set_default_logger(log);
  if (!words.empty() && words[0] == "report") return run_report(argc - 1, argv + 1);
  return run(argc, argv);
}
