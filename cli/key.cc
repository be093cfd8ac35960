#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/secret_input.h"
#include "identity/cluster_key.h"

namespace shardswarm::cli {
namespace {

namespace fs = std::filesystem;

// Where a key is written: `named`, else where nodes look for it.
Result<fs::path> target_of(const std::string& named) {
  if (holds_key(named)) {
    return fail(Errc::kUsage,
                "what was given in place of a file's name is a key, which is not shown here: to "
                "take a key over, give it to `shardswarm key import` on the standard input");
  }
  fs::path path = named.empty() ? default_key_file() : fs::path(named);
  if (path.empty()) return fail(Errc::kUsage, "there is no home directory: name a FILE");
  return path;
}

// The key of `named`, else of this machine. kRefused if it has none.
Result<ClusterKey> key_of(const std::string& named) {
  const auto found = find_cluster_key(named, "FILE");
  if (!found) return std::unexpected(found.error());
  if (*found) return **found;
  return fail(Errc::kRefused,
              "this machine has no cluster key: make one with `shardswarm key new`, or bring the "
              "one of another machine with `shardswarm key import`");
}

// Behind a command that takes a FILE: nothing for the default file, else " FILE" as a shell reads
// it.
std::string file_argument(const fs::path& path) {
  return path == default_key_file() ? "" : " " + shell_quoted(path.string());
}

int make(const std::string& file, Context& context) {
  const auto path = target_of(file);
  if (!path) return report_error(context, path.error());
  if (const auto made = make_cluster_key(*path); !made) return report_error(context, made.error());
  context.terminal.result(path->string());
  context.terminal.note(
      fmt::format("Bring it to every machine of the cluster: `shardswarm key export{} | ssh HOST "
                  "shardswarm key import`. Whoever has it can read and serve models there.",
                  file_argument(*path)));
  return kExitDone;
}

void warn(const ClusterKey& key, Context& context) {
  if (!key.warning().empty()) context.terminal.message(LineKind::kWarning, key.warning());
}

int show(const std::string& file, Context& context) {
  const auto key = key_of(file);
  if (!key) return report_error(context, key.error());
  warn(*key, context);
  context.terminal.result(key->fingerprint());
  return kExitDone;
}

int print_line(const std::string& file, Context& context) {
  const auto key = key_of(file);
  if (!key) return report_error(context, key.error());
  warn(*key, context);
  context.terminal.raw_result(key->line());
  // On a terminal, too: people without a connection between two machines copy it by hand.
  if (::isatty(STDOUT_FILENO) == 1) {
    context.terminal.note(
        "Whoever reads this line has the key. Paste it into `shardswarm key import` on the other "
        "machine, then clear this terminal and its scrollback.");
  }
  return kExitDone;
}

struct ImportArguments {
  std::string key;  // the key itself, or a file; empty or "-": stdin
  std::string to;
  bool force = false;
};

Result<ClusterKey> key_to_import(const std::string& given, Context& context) {
  if (!given.empty() && given != "-") {
    const auto found = find_cluster_key(given, "KEY");
    if (!found) return std::unexpected(found.error());
    return **found;  // `given` is not empty: there is one, or an error
  }
  const auto text = read_secret(
      context,
      "Paste the key that `shardswarm key export` prints (it is not shown), then press Enter. An "
      "empty line ends it.",
      [](const std::string& typed) { return ClusterKey::parse(typed, {}).has_value(); });
  if (!text) return std::unexpected(text.error());
  return ClusterKey::parse(*text, "what was read");
}

// Which nodes use the key that was just written there.
std::string who_uses(const fs::path& path) {
  if (path != default_key_file()) {
    return fmt::format("Nodes use it that are started with --key {}.", path.string());
  }
  // Read while there is one thread.
  if (const char* set = std::getenv("SHARDSWARM_KEY");  // NOLINT(concurrency-mt-unsafe)
      set != nullptr && *set != '\0') {
    return "SHARDSWARM_KEY is set, and nodes use the key that it names instead: unset it.";
  }
  return "Nodes that start from now on use it.";
}

int import(const ImportArguments& arguments, Context& context) {
  const auto path = target_of(arguments.to);
  if (!path) return report_error(context, path.error());
  const auto key = key_to_import(arguments.key, context);
  if (!key) return report_end(context, key.error());
  warn(*key, context);
  std::error_code ec;
  if (fs::exists(*path, ec) && !arguments.force) {
    const auto there = ClusterKey::load(*path);
    if (!there && there.error().code != Errc::kMalformed) {
      return report_error(context, there.error());
    }
    if (!there || there->fingerprint() != key->fingerprint()) {
      return report_error(
          context,
          {Errc::kBusy,
           fmt::format("{} holds {}; the key to import is {}. Nodes that use it would lose each "
                       "other: --force replaces it",
                       path->string(),
                       there ? "another key, " + there->fingerprint() : "something else than a key",
                       key->fingerprint())});
    }
    warn(*there, context);
    context.terminal.result(key->fingerprint());
    context.terminal.note("This machine has this key already.");
    return kExitDone;
  }
  if (const auto written = key->write(*path, arguments.force); !written) {
    return report_error(context, written.error());
  }
  context.terminal.result(key->fingerprint());
  context.terminal.note(fmt::format(
      "The key is in {}. {} `shardswarm key show{}` prints the same on machines with the same key.",
      path->string(), who_uses(*path), file_argument(*path)));
  return kExitDone;
}

PositionalSpec key_file(std::string& file, std::string text) {
  return {
      .name = "FILE", .text = std::move(text), .required = false, .set = into(file), .path = true};
}

}  // namespace

CommandSpec key_new_command() {
  auto file = std::make_shared<std::string>();
  return {.name = "key new",
          .summary = "Make a cluster key",
          .text =
              "Nodes that have the same key know and trust each other. Make one key, and bring "
              "it to each machine.",
          .positionals = {key_file(*file, "Where (default: the place where it is looked for)")},
          .examples = {{"shardswarm key new", "On the first machine, once"}},
          .run = [file](Context& context) { return make(*file, context); }};
}

CommandSpec key_show_command() {
  auto file = std::make_shared<std::string>();
  return {.name = "key show",
          .summary = "Print the fingerprint of this machine's key",
          .text = "Machines with the same key print the same. A fingerprint is no secret.",
          .positionals = {key_file(*file, "The key (default: the one that nodes here use)")},
          .examples = {{"shardswarm key show", "On two machines that refuse each other"}},
          .run = [file](Context& context) { return show(*file, context); }};
}

CommandSpec key_export_command() {
  auto file = std::make_shared<std::string>();
  return {.name = "key export",
          .summary = "Print this machine's key as one line",
          .text =
              "Whoever reads the line has the key: send it over a connection that nobody else "
              "can read.",
          .positionals = {key_file(*file, "The key (default: the one that nodes here use)")},
          .examples = {{"shardswarm key export | ssh node2 shardswarm key import",
                        "Bring the key to another machine"}},
          .run = [file](Context& context) { return print_line(*file, context); }};
}

CommandSpec key_import_command() {
  auto arguments = std::make_shared<ImportArguments>();
  return {.name = "key import",
          .summary = "Take over the key of another machine",
          .text =
              "Without an argument the line is read from the standard input, which other users "
              "of this machine cannot see. A key that is here already is kept.",
          .positionals = {{.name = "KEY",
                           .text = "The line that `key export` printed, or a key file (default: "
                                   "the standard input)",
                           .required = false,
                           .set = into(arguments->key)}},
          .options = {{.names = "--to",
                       .value = "FILE",
                       .text = "Where to write it (default: the place where it is looked for)",
                       .group = heading::kTrust,
                       .set = into(arguments->to)},
                      {.names = "--force",
                       .text = "Replace another key that is there",
                       .group = heading::kTrust,
                       .set = into(arguments->force)}},
          .examples = {{"shardswarm key import", "Asks for the line"},
                       {"shardswarm key import cluster.key", "From a file that was copied here"}},
          .run = [arguments](Context& context) { return import(*arguments, context); }};
}

}  // namespace shardswarm::cli
