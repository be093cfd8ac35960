#include "swarm/stall_watch.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/text.h"
#include "swarm/context.h"

namespace shardswarm {
namespace {

// A peer that does not have the model may be about to: its seed has just been started, or it is
// learning the model itself.
constexpr Duration kNobodyHasItFor = std::chrono::seconds(5);
// A fetch without progress waits for so many stall timeouts while a peer answers that it is full:
// the others there end, and leave room, after minutes rather than one.
constexpr int kPatience = 10;
constexpr std::string_view kResume = "; run the same command again to resume";

std::string whole_seconds(Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count());
}

// "a", "a and b", "a, b, c and 7 more".
std::string list_of(const std::vector<std::string>& names) {
  constexpr std::size_t kNamedMax = 3;
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

// Whether the peer said that it does not have the model. One that opened it may have done so for
// what its other models have in common with it (WIRE-25): then it does not have the root.
bool StallWatch::denies(const Link& link, const Model& model) const {
  const auto at = link.models.find(model.key);
  if (at == link.models.end() || !is_neighbour(link) || !at->second.answered) return false;
  if (!link.session.peer_opened(at->second.channel)) return true;
  const ManifestFetch* learning = model.learning();
  return learning != nullptr && learning->manifest() == nullptr && at->second.early_have.empty() &&
         learning->lacks(link.id);
}

// What peers that are connected do not have, as a clause of a message; empty if it is not known.
std::string StallWatch::lacking(const Model& model) const {
  const Fetching& fetch = model.fetching();
  std::vector<std::string> without;
  std::vector<std::string> parts;
  for (const auto& [id, link] : context_.links) {
    const auto at = link.models.find(model.key);
    if (denies(link, model)) {
      without.push_back(name_of(link));
    } else if (at == link.models.end() || !is_neighbour(link)) {
      continue;
    } else if (fetch.download ? at->second.introduced && !fetch.download->has_missing(id)
                              : fetch.learning->lacks(id)) {
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
  if (fetch.download) {
    text += std::string(parts.size() == 1 ? " is" : " are") + " connected but " +
            (parts.size() == 1 ? "holds" : "hold") + " none of the " +
            std::to_string(fetch.download->missing()) + " pieces that are still missing";
  } else {
    text += std::string(parts.size() == 1 ? " holds" : " hold") +
            " a part of the model, without some of the files that are wanted";
  }
  return text;
}

// --- the end ---

// Every node that was named is connected, no peer has the model, and nobody else is left to ask.
bool StallWatch::nobody_has(Model& model, Time now) const {
  Patience& patience = model.fetching().patience;
  const bool nobody = !patience.reached() && now >= patience.wait_until() &&
                      !context_.links.empty() && addresses_.every_node_answered() &&
                      std::ranges::all_of(context_.links, [&](const auto& entry) {
                        return denies(entry.second, model);
                      });
  return patience.nobody_for(kNobodyHasItFor, nobody, now);
}

// A source that is not up yet is waited for.
bool StallWatch::awaits_source(const Model& model) const {
  return !model.fetching().patience.reached() &&
         std::ranges::none_of(context_.links,
                              [](const auto& entry) { return entry.second.hello.has_value(); });
}

Error StallWatch::unreached_error(const Model& model, Time now) const {
  if (const std::string lacks = lacking(model); !lacks.empty()) {
    return {Errc::kUnreachable,
            lacks + ": compare the ticket with the one that `shardswarm seed` printed there"};
  }
  if (!context_.links.empty()) {
    return {Errc::kUnreachable, "no connected peer has model " + to_hex(model.id)};
  }
  std::string what = "no peer could be reached for " +
                     whole_seconds(now - model.fetching().patience.started()) + " s";
  const auto error = addresses_.all_given_failed();
  what += error ? ": " + error->message : "; name one with --peer";
  if (model.counters.present_bytes > 0) what += kResume;
  return {Errc::kUnreachable, std::move(what)};
}

Error StallWatch::stalled_error(const Model& model, Time now) const {
  const Fetching& fetch = model.fetching();
  std::string what =
      "nothing has come for " + whole_seconds(now - fetch.patience.last_progress()) + " s";
  const std::uint32_t missing = fetch.download ? fetch.download->missing() : 0;
  if (fetch.download) {
    what += ": " + std::to_string(missing) + " pieces are missing, " +
            std::to_string(fetch.download->unavailable()) + " of them held by no connected peer";
  }
  const std::uint32_t gone =
      fetch.gone.empty() ? 0 : ((fetch.gone & fetch.wanted) - model.have).count();
  if (gone > 0) {
    what += "; a file of " + fetch.gone_from + " changed or went, and with it " +
            std::to_string(gone) +
            " of these pieces: put it back there and start the seed again (with other content it "
            "is another model, with another ticket)";
  }
  // Where all that is missing went with a file, that a peer holds none of it says nothing more.
  const std::string lacks = gone > 0 && gone == missing ? std::string() : lacking(model);
  if (!lacks.empty()) what += "; " + lacks + ": name a node that has the rest with --peer";
  const auto& lost = model.counters.lost;
  if (model.introduced == 0 && lost) {
    what += "; " + lost->address + " was lost " + whole_seconds(now - lost->at) +
            " s ago: " + lost->why;
  }
  if (context_.links.empty()) {
    if (const auto error = addresses_.all_given_failed()) what += "; " + error->message;
  }
  what += kResume;
  return {Errc::kStalled, std::move(what)};
}

std::optional<Error> StallWatch::check(Model& model, bool reads, Time now) const {
  Fetching& fetch = model.fetching();
  Patience& patience = fetch.patience;
  if (fetch.step == Fetching::Step::kFinishing || fetch.step == Fetching::Step::kOpening) {
    return std::nullopt;
  }
  // Our own limit is paid off first: a large manifest came at once.
  if (!reads) patience.progress(now);
  if (context_.links.empty()) {
    if (auto error = addresses_.all_given_refused(patience.waits(now))) return error;
  }
  if (awaits_source(model)) patience.hold(now);
  const bool nobody = nobody_has(model, now);
  if (!nobody && now < patience.stalled_at()) return std::nullopt;
  // Where some peer has the model, that another is full is not why nothing comes.
  const auto full = nobody || patience.reached() ? std::nullopt : addresses_.lack_of_room(now);
  if (full) {
    const Duration waited = now - patience.started();
    if (waited >= kPatience * patience.stall_timeout()) {
      return Error{Errc::kUnreachable, "no peer had room for " + whole_seconds(waited) +
                                           " s: " + full->message + "; run it again later"};
    }
    patience.wait_for_room(now);
    return std::nullopt;
  }
  return patience.reached() ? stalled_error(model, now) : unreached_error(model, now);
}

std::optional<Time> StallWatch::next_deadline(const Model& model) {
  const Fetching& fetch = model.fetching();
  if (fetch.step == Fetching::Step::kFinishing || fetch.step == Fetching::Step::kOpening) {
    return std::nullopt;
  }
  const Time stalled = fetch.patience.stalled_at();
  const auto nobody = fetch.patience.nobody_since();
  return nobody ? std::min(stalled, *nobody + kNobodyHasItFor) : stalled;
}

}  // namespace shardswarm
