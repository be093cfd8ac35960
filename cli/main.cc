// The shardswarm command.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <cstdio>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace {

constexpr const char* kExamples = R"(Examples:
  shardswarm key new                              # once; copy the file to the other machines
  shardswarm seed /models/llama                   # prints a ticket
  shardswarm fetch 'shardswarm:…?peer=…' --to ./llama --stage 1/4
  shardswarm inspect ./llama
)";

void set_up_log(const shardswarm::cli::Common& common) {
  auto log = spdlog::stderr_color_mt("shardswarm");
  log->set_pattern("%^%l%$: %v");
  log->set_level(common.quiet          ? spdlog::level::err
                 : common.verbose >= 2 ? spdlog::level::debug
                 : common.verbose == 1 ? spdlog::level::info
                                       : spdlog::level::warn);
  spdlog::set_default_logger(std::move(log));
}

// A model's files stay open while it is fetched or served; one per layer in the compact layout. The
// usual soft limit of 1024 is for programs that select().
void allow_many_files() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace shardswarm::cli;
  allow_many_files();
  Signals signals;
  Context context{.common = {}, .signals = signals};
  CLI::App app(
      "Brings LLM checkpoints to the machines that run them, from all peers at once, and "
      "only the tensors that each one needs.",
      "shardswarm");
  app.footer(kExamples);
  app.require_subcommand(1);
  app.set_version_flag("--version", "shardswarm 0.1.0");
  app.add_flag("-q,--quiet", context.common.quiet, "Only errors");
  app.add_flag("-v,--verbose", context.common.verbose, "Say more; twice for all");
  app.fallthrough();
  app.parse_complete_callback([&] { set_up_log(context.common); });
  add_index(app, context);
  add_seed(app, context);
  add_fetch(app, context);
  add_inspect(app, context);
  add_verify(app, context);
  add_drop(app, context);
  add_convert(app, context);
  add_list(app, context);
  add_forget(app, context);
  add_key(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help, version
    fmt::print(stderr, "shardswarm: error: {} (try --help)\n", error.what());
    return kExitUsage;
  }
  // What is printed is what scripts rely on: a full disk or closed pipe is a failure.
  if (std::fflush(stdout) != 0 && context.exit_code == 0) return kExitFailed;
  return context.exit_code;
}
