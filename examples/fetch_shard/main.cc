// Fetches some layers of a checkpoint into a directory, and serves them to others until it ends.
#include <cstdio>
#include <string>

#include "node/shardswarm.h"
#include "piece/selection_text.h"

namespace {

int failed(const shardswarm::Error& error) {
  std::fprintf(stderr, "fetch_shard: %s\n", error.message.c_str());
  return 1;
}

void show(const shardswarm::FetchProgress& progress) {
  std::fprintf(stderr, "%llu of %llu bytes, %u peers\n",
               static_cast<unsigned long long>(progress.present_bytes),
               static_cast<unsigned long long>(progress.wanted_bytes), progress.peers);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: fetch_shard TICKET DIRECTORY LAYERS     LAYERS as 2-5\n");
    return 2;
  }
  const auto ticket = shardswarm::Ticket::parse(argv[1]);
  if (!ticket) return failed(ticket.error());

  // Listens on loopback alone; a cluster key, if this user has one, is taken from its usual place.
  auto node = shardswarm::Node::start({.listen = "127.0.0.1", .leave_default_port = true});
  if (!node) return failed(node.error());

  const auto selection = shardswarm::parse_selection(std::string("--layers ") + argv[3]);
  if (!selection) return failed(selection.error());
  const auto fetch =
      (*node)->fetch(*ticket, {.directory = argv[2], .selection = *selection, .on_progress = show});
  const auto report = fetch->wait();  // the files are complete, verified and durable then
  if (!report) return failed(report.error());
  std::printf("%llu bytes in %.1f s, from %zu peers\n",
              static_cast<unsigned long long>(report->selected_bytes), report->seconds,
              report->peers.size());
  fetch->linger(std::chrono::seconds(10), std::chrono::milliseconds(0));
  return 0;
}
