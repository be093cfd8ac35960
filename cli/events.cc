#include "cli/events.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "cli/json.h"
#include "cli/left_out.h"
#include "cli/progress.h"

namespace shardswarm::cli {
namespace {

constexpr auto kProgressEvery = std::chrono::seconds(1);

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string time_text() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(ms / 1000)), ms % 1000);
}

Json event_json(const char* name, const std::string& host, const Json& fields) {
  Json event = {{"schema", kJsonSchema}, {"event", name}, {"time", time_text()}, {"host", host}};
  event.update(fields);
  return event;
}

Json peers_json(const std::vector<PeerReport>& peers) {
  Json list = Json::array();
  for (const PeerReport& peer : peers) {
    list.push_back({{"id", to_hex(peer.id)},
                    {"address", peer.address},
                    {"fetched_bytes", peer.fetched_bytes},
                    {"sent_bytes", peer.sent_bytes}});
  }
  return list;
}

Json memory_json(const MemoryReport& memory) {
  return {{"pool_bytes_max", memory.pool_bytes_max},
          {"pool_peak_bytes", memory.pool_peak_bytes},
          {"undurable_bytes_max", memory.undurable_bytes_max},
          {"undurable_peak_bytes", memory.undurable_peak_bytes},
          {"piece_state_bytes_max", memory.piece_state_bytes_max},
          {"manifest_bytes", memory.manifest_bytes}};
}

}  // namespace

EventLines::EventLines(Terminal& terminal, bool on)
    : terminal_(terminal), on_(on), host_(on ? host_name() : "") {}

void EventLines::progress(const FetchProgress& progress) {
  if (!on_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kProgressEvery && progress.phase < FetchPhase::kDone) return;
  last_ = now;
  const double left = seconds_left(progress);
  Json fields = {{"phase", phase_name(progress.phase)},
                 {"wanted_bytes", progress.wanted_bytes},
                 {"present_bytes", progress.present_bytes},
                 {"fetched_bytes", progress.fetched_bytes},
                 {"bytes_per_second", progress.bytes_per_second},
                 {"eta_seconds", left < 0 ? Json() : Json(left)},
                 {"stalled_seconds", progress.stalled_seconds},
                 {"gives_up_seconds", progress.gives_up_seconds},
                 {"peers", progress.peers}};
  terminal_.raw_result(json_text(event_json("progress", host_, fields)));
}

void EventLines::happened(const FetchEvent& event) {
  if (!on_) return;
  const auto write = [&](const char* name, const Json& fields) {
    terminal_.raw_result(json_text(event_json(name, host_, fields)));
  };
  switch (event.kind) {
    case FetchEvent::Kind::kPeerJoined:
      write("peer_joined", {{"id", to_hex(event.peer)}, {"address", event.address}});
      break;
    case FetchEvent::Kind::kPeerLost:
      write("peer_lost",
            {{"id", to_hex(event.peer)}, {"address", event.address}, {"reason", event.reason}});
      break;
    case FetchEvent::Kind::kFileDone:
      write("file_done", {{"path", event.path}});
      break;
  }
}

void EventLines::plan(const FetchPlan& plan) {
  if (!on_) return;
  Json fields = {{"selected_bytes", plan.selected_bytes},
                 {"wanted_bytes", plan.wanted_bytes},
                 {"here_bytes", plan.here_bytes},
                 {"elsewhere_bytes", plan.elsewhere_bytes},
                 {"to_fetch_bytes", plan.wanted_bytes - plan.here_bytes - plan.elsewhere_bytes},
                 {"needed_bytes", plan.needed_bytes},
                 {"free_bytes", plan.free_bytes ? Json(*plan.free_bytes) : Json()},
                 {"manifest_bytes", plan.manifest_bytes},
                 {"pieces", plan.pieces},
                 {"tensors", plan.tensors},
                 {"files", plan.files}};
  put_selection(fields, plan.parts, plan.engine_setting, plan.left_out);
  terminal_.raw_result(json_text(event_json("plan", host_, fields)));
}

void EventLines::done(const FetchReport& report) {
  if (!on_) return;
  Json fields = {{"id", to_hex(report.id)},
                 {"seconds", report.seconds},
                 {"selected_bytes", report.selected_bytes},
                 {"wanted_bytes", report.wanted_bytes},
                 {"fetched_bytes", report.fetched_bytes},
                 {"duplicate_bytes", report.duplicate_bytes},
                 {"control_bytes", report.control_bytes},
                 {"manifest_bytes", report.manifest_bytes},
                 {"reused_bytes", report.reused_bytes},
                 {"copied_bytes", report.copied_bytes},
                 {"sent_bytes", report.sent_bytes},
                 {"peak_private_bytes", report.memory.peak_private_bytes},
                 {"memory", memory_json(report.memory)},
                 {"layout", layout_name(report.layout)},
                 {"addresses", report.addresses},
                 {"engine",
                  {{"name", report.engine.name},
                   {"registered_buffers", report.engine.registered_buffers},
                   {"submissions", report.engine.submissions},
                   {"operations", report.engine.operations}}},
                 {"network_threads", report.network_threads},
                 {"peers", peers_json(report.peers)}};
  put_selection(fields, report.parts, report.engine_setting, report.left_out);
  terminal_.raw_result(json_text(event_json("done", host_, fields)));
}

void EventLines::error(const Error& error, int exit_code) {
  if (!on_) return;
  const Json fields = {
      {"code", errc_name(error.code)}, {"message", error.message}, {"exit", exit_code}};
  terminal_.raw_result(json_text(event_json("error", host_, fields)));
}

}  // namespace shardswarm::cli
