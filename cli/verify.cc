#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct VerifyArguments {
  std::string directory;
  bool full = false;
  bool json = false;
};

int run(const VerifyArguments& arguments, Context& context) {
  const auto report =
      verify_directory(arguments.directory, context.common.state_directory(), arguments.full);
  if (!report) return report_error(report.error());
  if (arguments.json) {
    const nlohmann::ordered_json object = {{"pieces", report->pieces},
                                           {"bytes", report->bytes},
                                           {"missing_pieces", report->missing_pieces},
                                           {"wrong", report->wrong}};
    fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    for (const std::string& line : report->wrong) fmt::print("{}\n", line);
  }
  if (!context.common.quiet) {
    fmt::print(stderr, "{} pieces ({}) checked with {}, {} wrong, {} not here\n", report->pieces,
               bytes_text(report->bytes), arguments.full ? "SHA-256" : "XXH3", report->wrong.size(),
               report->missing_pieces);
  }
  return report->wrong.empty() ? kExitDone : kExitWrong;
}

}  // namespace

void add_verify(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<VerifyArguments>();
  auto* command =
      app.add_subcommand("verify", "Re-check every piece that is here; name what is wrong");
  command->add_option("DIR", arguments->directory, "A fetched or indexed directory")->required();
  command->add_flag("--full", arguments->full,
                    "SHA-256 against the manifest instead of XXH3 against the ledger");
  command->add_flag("--json", arguments->json, "One JSON object");
  add_state(*command, context.common);
  command->callback([arguments, &context] { context.exit_code = run(*arguments, context); });
}

}  // namespace shardswarm::cli
