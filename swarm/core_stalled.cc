// Fetches that get on no more: when they end, and what they say of it.
#include <algorithm>
#include <chrono>

#include "swarm/core_state.h"

namespace shardswarm {
namespace {

// A peer that does not have the model may be about to: its seed has just been started, or it is
// learning the model itself.
constexpr Duration kNobodyHasItFor = std::chrono::seconds(5);
constexpr std::size_t kNamedMax = 3;
constexpr std::string_view kResume = "; run the same command again to resume";

std::string whole_seconds(Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count());
}

// "a", "a and b", "a, b, c and 7 more".
std::string list_of(const std::vector<std::string>& names) {
  const std::size_t named = std::min(names.size(), kNamedMax);
  const std::size_t more = names.size() - named;
  std::string text;
  for (std::size_t i = 0; i < named; ++i) {
    const bool last = more == 0 && i + 1 == named;
    if (i > 0) text += last ? " and " : ", ";
    text += names[i];
  }
  if (more > 0) text += " and " + std::to_string(more) + " more";
  return text;
}

}  // namespace

// --- what is known of why nothing comes ---

std::string Core::name_of(const Link& link) {
  return link.dialed || link.told_addresses.empty() ? link.address : link.told_addresses.front();
}

// Whether the peer said that it does not have the model. One that opened it may have done so for
// what its other models have in common with it (WIRE-25): then it does not have the root.
bool Core::denies(const Link& link, const Model& model) const {
  const auto at = link.models.find(model.key);
  if (at == link.models.end() || !is_neighbour(link) || !at->second.answered) return false;
  if (!link.session.peer_opened(at->second.channel)) return true;
  return model.state == Model::State::kLearning && model.learning->manifest() == nullptr &&
         at->second.early_have.empty() && model.learning->lacks(link.id);
}

// What peers that are connected do not have, as a clause of a message; empty if it is not known.
std::string Core::lacking(const Model& model) const {
  std::vector<std::string> without;
  std::vector<std::string> parts;
  for (const auto& [id, link] : links_) {
    const auto at = link.models.find(model.key);
    if (denies(link, model)) {
      without.push_back(name_of(link));
    } else if (at == link.models.end() || !is_neighbour(link)) {
      continue;
    } else if (model.download ? at->second.introduced && !model.download->has_missing(id)
                              : model.learning->lacks(id)) {
      parts.push_back(name_of(link));
    }
  }
  std::string text;
  if (!without.empty()) {
    text = list_of(without) + (without.size() == 1 ? " does" : " do") + " not have model " +
           to_hex(model.id) + ", which the ticket names";
  }
  if (parts.empty()) return text;
  if (!text.empty()) text += "; ";
  text += list_of(parts);
  if (model.download) {
    text += std::string(parts.size() == 1 ? " is" : " are") + " connected but " +
            (parts.size() == 1 ? "holds" : "hold") + " none of the " +
            std::to_string(model.download->missing()) + " pieces that are still missing";
  } else {
    text += std::string(parts.size() == 1 ? " holds" : " hold") +
            " a part of the model, without some of the files that are wanted";
  }
  return text;
}

void Core::note_gone(const Link& link, Model& model, std::span<const PieceRun> pieces) {
  if (model.gone.empty()) model.gone = PieceSet(model.manifest->piece_count());
  for (const PieceRun& run : pieces) model.gone.insert(run);
  model.gone_from = name_of(link);
}

// --- the end ---

// Every node that was named is connected, no peer has the model, and nobody else is left to ask.
bool Core::nobody_has(Model& model, Time now) {
  const bool nobody =
      !model.reached && now >= model.wait_until && !links_.empty() &&
      addresses_.every_node_answered() &&
      std::ranges::all_of(links_, [&](const auto& entry) { return denies(entry.second, model); });
  if (!nobody) {
    model.nobody_since.reset();
    return false;
  }
  if (!model.nobody_since) model.nobody_since = now;
  return now >= *model.nobody_since + kNobodyHasItFor;
}

std::optional<Time> Core::nobody_due(const Model& model) {
  if (!model.nobody_since) return std::nullopt;
  return *model.nobody_since + kNobodyHasItFor;
}

// A source that is not up yet is waited for: nobody answers, and no peer ever had the model.
bool Core::awaits_source(const Model& model) const {
  return model.fetching && !model.reached && std::ranges::none_of(links_, [](const auto& entry) {
           return entry.second.hello.has_value();
         });
}

Error Core::unreached_error(const Model& model, Time now) const {
  if (const std::string lacks = lacking(model); !lacks.empty()) {
    return {Errc::kUnreachable,
            lacks + ": compare the ticket with the one that `shardswarm seed` printed there"};
  }
  if (!links_.empty()) {
    return {Errc::kUnreachable, "no connected peer has model " + to_hex(model.id)};
  }
  std::string what = "no peer could be reached for " + whole_seconds(now - model.started) + " s";
  const auto error = addresses_.all_given_failed();
  what += error ? ": " + error->message : "; name one with --peer";
  if (model.counters.present_bytes > 0) what += kResume;
  return {Errc::kUnreachable, std::move(what)};
}

Error Core::stalled_error(const Model& model, Time now) const {
  std::string what = "nothing has come for " + whole_seconds(now - model.last_progress) + " s";
  const std::uint32_t missing = model.download ? model.download->missing() : 0;
  if (model.download) {
    what += ": " + std::to_string(missing) + " pieces are missing, " +
            std::to_string(model.download->unavailable()) + " of them held by no connected peer";
  }
  const std::uint32_t gone =
      model.gone.empty() ? 0 : ((model.gone & model.wanted) - model.have).count();
  if (gone > 0) {
    what += "; a file of " + model.gone_from + " changed or went, and with it " +
            std::to_string(gone) +
            " of these pieces: put it back there and start the seed again (with other content it "
            "is another model, with another ticket)";
  }
  // Where all that is missing went with a file, that a peer holds none of it says nothing more.
  const std::string lacks = gone > 0 && gone == missing ? std::string() : lacking(model);
  if (!lacks.empty()) what += "; " + lacks + ": name a node that has the rest with --peer";
  if (model.introduced == 0 && !model.counters.lost_address.empty()) {
    what += "; " + model.counters.lost_address + " was lost " +
            whole_seconds(now - model.counters.lost_at) + " s ago: " + model.counters.lost_why;
  }
  if (links_.empty()) {
    if (const auto error = addresses_.all_given_failed()) what += "; " + error->message;
  }
  what += kResume;
  return {Errc::kStalled, std::move(what)};
}

// Where some peer has the model, that another is full is not why nothing comes.
bool Core::waits_for_room(Model& model, Time now) {
  const auto full = model.reached ? std::nullopt : addresses_.lack_of_room(now);
  if (!full) return false;
  const Duration waited = now - model.started;
  if (waited < kPatience * model.stall_timeout) {
    model.patient_until = now + model.stall_timeout;
  } else {
    fetch_failed(model.key,
                 {Errc::kUnreachable, "no peer had room for " + whole_seconds(waited) +
                                          " s: " + full->message + "; run it again later"},
                 now);
  }
  return true;
}

void Core::check_stalled(Model& model, Time now) {
  if (!model.fetching || model.finishing || model.state == Model::State::kOpening) return;
  if (model.state == Model::State::kLearning && model.learning->done()) return;
  // Our own limit is paid off first: a large manifest came at once.
  if (limits_ && !limits_->down.bucket.open(now)) model.last_progress = now;
  if (links_.empty()) {
    const bool waits = !model.reached && now < model.wait_until;
    if (const auto error = addresses_.all_given_refused(waits)) {
      fetch_failed(model.key, *error, now);
      return;
    }
  }
  // The clock does not run while the source is waited for.
  if (awaits_source(model)) {
    model.last_progress =
        std::max(model.last_progress, std::min(now, model.wait_until - model.stall_timeout));
  }
  const bool nobody = nobody_has(model, now);
  if (!nobody && now < model.stalled_at()) return;
  if (!nobody && waits_for_room(model, now)) return;
  fetch_failed(model.key, model.reached ? stalled_error(model, now) : unreached_error(model, now),
               now);
}

}  // namespace shardswarm
