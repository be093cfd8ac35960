#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "node/directory.h"

namespace shardswarm::cli {
namespace {

struct SeedArguments {
  std::string directory;
  std::string name;
  std::string ready_file;
  Network network;
  State state;
};

std::string serving_text(const Seed& seed) {
  const auto peers = seed.peers();
  const auto connected = std::ranges::count_if(peers, &PeerReport::connected);
  return fmt::format("{} now, {} in all; {} sent",
                     count_text(static_cast<std::uint64_t>(connected), "peer"), peers.size(),
                     bytes_text(seed.sent_bytes()));
}

// A file that says, by being there, that the seed serves: for scripts and service managers. It
// holds the ticket, and goes when the seed ends.
class ReadyFile {
 public:
  ~ReadyFile() { remove(); }

  // Takes away what an earlier seed left, and finds out whether the file can be written: before
  // hours of hashing.
  Result<void> prepare(const std::string& path) {
    if (path.empty()) return {};
    path_ = path;
    remove();
    return write("");
  }
  Result<void> write(const std::string& ticket) {
    if (path_.empty()) return {};
    // Under another name first: whoever finds the file finds it whole.
    std::ofstream file(part(), std::ios::trunc);
    file << ticket << "\n";
    file.close();
    std::error_code error;
    if (file && !ticket.empty()) std::filesystem::rename(part(), path_, error);
    if (file && !error) return {};
    return fail(Errc::kIo, "cannot write the ready file " + path_ +
                               (error ? ": " + error.message() : std::string()));
  }

 private:
  std::string part() const { return path_ + ".part"; }
  void remove() const {
    std::error_code ignored;
    if (path_.empty()) return;
    std::filesystem::remove(path_, ignored);
    std::filesystem::remove(part(), ignored);
  }

  std::string path_;
};

// The name of the checkpoint as a directory that needs no quotes.
std::string target_name(const SeedArguments& arguments) {
  std::filesystem::path path = arguments.name.empty() ? arguments.directory : arguments.name;
  if (!path.has_filename()) path = path.parent_path();  // "llama/"
  std::error_code ignored;
  if (path.filename() == "." || path.filename() == "..") path = canonical(path, ignored);
  std::string name = path.filename().string();
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  std::ranges::replace_if(name, std::not_fn(is_plain), '-');
  return name.empty() || name.front() == '-' || name.front() == '.' ? "model" : name;
}

// Flags that select what a directory that holds a part can serve by itself; empty if they are not
// known. The configuration comes with every part.
std::string flags_of_part(const std::string& directory) {
  auto held = held_selection(directory);
  if (!held || held->selection.whole()) return {};
  Selection tensors = held->selection;
  tensors.files.clear();
  return " " + describe(tensors.whole() ? held->selection : tensors);
}

void tell_how_to_fetch(const Node& node, const Seed& seed, const SeedArguments& arguments,
                       Terminal& terminal) {
  for (const std::string& note : node.notes()) terminal.note(note);
  const auto command = [&](std::string_view flags) {
    return fmt::format("  shardswarm fetch {} ./{}{}{}", seed.ticket().to_string(),
                       target_name(arguments), flags,
                       arguments.network.insecure ? " --insecure" : "");
  };
  if (seed.present_bytes() == seed.total_bytes()) {
    terminal.note("To fetch it, run where it is wanted:");
    terminal.note(command(""));
    return;
  }
  terminal.note(
      fmt::format("This directory holds a part of the model, {} of {}: whoever wants the "
                  "whole needs other peers, too (--peer HOST:PORT).",
                  bytes_text(seed.present_bytes()), bytes_text(seed.total_bytes())));
  const std::string flags = flags_of_part(arguments.directory);
  terminal.note(flags.empty() ? "To fetch what is wanted of it, add the flags that select it to:"
                              : "To fetch what this directory was fetched with, run where it is "
                                "wanted:");
  terminal.note(command(flags));
}

int run(const SeedArguments& arguments, Context& context) {
  Terminal& terminal = context.terminal;
  ReadyFile ready;
  if (auto writable = ready.prepare(arguments.ready_file); !writable) {
    return report_error(context, writable.error());
  }
  auto node = Node::start(node_options(context, arguments.state, arguments.network));
  if (!node) return report_error(context, node.error());
  const auto started = std::chrono::steady_clock::now();
  const auto seed = (*node)->seed({.directory = arguments.directory,
                                   .index_progress =
                                       [&](std::uint64_t done, std::uint64_t total) {
                                         const std::chrono::duration<double> took =
                                             std::chrono::steady_clock::now() - started;
                                         terminal.status(index_status(done, total, took.count()));
                                       },
                                   .cancel = &context.signals.interrupted()});
  terminal.end_status();
  if (!seed) return report_end(context, seed.error());
  const std::string ticket = (*seed)->ticket().to_string();
  terminal.raw_result(ticket);
  if (terminal.lost_results()) {
    return report_error(context, {Errc::kIo, "cannot write the ticket to stdout"});
  }
  if (auto written = ready.write(ticket); !written) return report_error(context, written.error());
  tell_how_to_fetch(**node, **seed, arguments, terminal);
  const std::string label = arguments.name.empty() ? arguments.directory : arguments.name;
  terminal.note(fmt::format("serving {}: {} of {}; Ctrl-C ends it", label,
                            bytes_text((*seed)->present_bytes()),
                            bytes_text((*seed)->total_bytes())));
  context.signals.on_status([&terminal, seed = *seed] { terminal.note(serving_text(*seed)); });
  context.signals.wait();
  context.signals.forget_callbacks();
  terminal.note(serving_text(**seed));
  return kExitDone;
}

}  // namespace

CommandSpec seed_command() {
  auto arguments = std::make_shared<SeedArguments>();
  CommandSpec command{
      .name = "seed",
      .summary = "Serve a checkpoint; prints its ticket",
      .text =
          "A checkpoint that is not indexed yet is hashed first. A signal (Ctrl-C, SIGTERM) "
          "ends the seed with exit code 0; SIGUSR1 makes it say whom it serves.",
      .positionals = {{.name = "DIR",
                       .text = "A checkpoint, or a fetched directory",
                       .set = into(arguments->directory),
                       .path = true}},
      .options = {{.names = "--name",
                   .value = "NAME",
                   .text = "What to call it in messages",
                   .group = heading::kOutput,
                   .set = into(arguments->name)},
                  {.names = "--ready-file",
                   .value = "FILE",
                   .text = "Write the ticket into this file when the seed serves; it goes with the "
                           "seed",
                   .group = heading::kOutput,
                   .set = into(arguments->ready_file)}},
      .examples = {{"shardswarm seed /models/llama", "Prints the ticket for the others"}},
      .run = [arguments](Context& context) { return run(*arguments, context); }};
  add_network(command, arguments->network);
  add_state(command, arguments->state);
  return command;
}

}  // namespace shardswarm::cli
