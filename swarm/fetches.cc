#include "swarm/fetches.h"

#include <algorithm>
#include <utility>

#include "swarm/context.h"
#include "swarm/meetings.h"

namespace shardswarm {

Result<ModelKey> Fetches::add(FetchRequest request, Time now) {
  auto learning =
      std::make_unique<ManifestFetch>(request.id, std::move(request.selection), request.until,
                                      context_.models.next_key().value * kBlobRequestsPerModel);
  if (request.kept) {
    if (auto known = learning->know(*request.kept); !known) return std::unexpected(known.error());
  }
  Fetching fetch;
  fetch.order = request.order;
  fetch.patience = Patience(request.stall_timeout, request.wait, now);
  fetch.learning = std::move(learning);
  Model& model = context_.models.add(request.id, std::move(fetch));
  neighbourhood_.reconsider();
  meetings_.meet_everybody(model, now);
  if (model.fetching().learning->done()) manifest_known(model);
  return model.key;
}

void Fetches::manifest_known(Model& model) {
  Fetching& fetch = model.fetching();
  fetch.step = Fetching::Step::kOpening;
  model.manifest = fetch.learning->manifest();
  model.counters.learned = true;
  model.counters.selected_bytes = fetch.learning->resolved().bytes;
  model.counters.wanted_bytes = model.counters.selected_bytes;
  context_.out.push(action::ManifestReady{model.key});
}

void Fetches::store_opened(Model& model, const PieceSet& have, const PieceSet& wanted,
                           const PieceSet& kept_back, Time now) {
  Fetching& fetch = model.fetching();
  if (fetch.step != Fetching::Step::kOpening) return;
  fetch.patience.progress(now);
  fetch.wanted = (fetch.learning->resolved().pieces | wanted) - kept_back;
  model.activate(context_.options, have);
  meetings_.meet_everybody(model, now);
}

void Fetches::check_complete(Model& model) {
  Fetching& fetch = model.fetching();
  if (fetch.step != Fetching::Step::kFetching || !fetch.download->done()) return;
  fetch.step = Fetching::Step::kFinishing;
  fetch.complete = true;
  context_.out.push(action::FinishStore{model.key});
}

void Fetches::end(Model& model) {
  model.fetching().step = Fetching::Step::kEnded;
  neighbourhood_.reconsider();
}

void Fetches::fail(Model& model, Error error) {
  end(model);
  if (model.upload) {
    const PieceRun all{PieceIndex(0), model.manifest->piece_count()};
    context_.each_introduced(model, [&](Link& link, LinkModel& at) {
      link.session.cancel(at.channel, {&all, 1}, limits::kCreditBytesMax);
      link.session.want(at.channel, {});
    });
  }
  context_.out.push(action::FetchEnded{model.key, std::move(error)});
}

void Fetches::finished(Model& model, Time now) {
  end(model);
  model.fetching().patience.progress(now);
  context_.each_introduced(model,
                           [](Link& link, LinkModel& at) { link.session.want(at.channel, {}); });
  context_.out.push(action::FetchEnded{model.key, std::nullopt});
}

void Fetches::piece_stored(Model& model, PieceIndex piece, ConnectionId from, std::uint32_t length,
                           const Result<void>& result, Time now) {
  Fetching& fetch = model.fetching();
  fetch.storing.erase(piece);
  if (!result) {
    model.counters.duplicate_bytes += length;
    if (result.error().code == Errc::kCorrupt) {
      if (fetch.live()) fetch.download->failed(from, piece);
      if (Link* link = context_.links.find(from)) {
        neighbourhood_.ban(*link, result.error().message);
      }
    } else if (fetch.live()) {
      fail(model, result.error());
    }
    return;
  }
  if (!model.have.insert(piece)) return;
  fetch.patience.progress(now);
  model.counters.present_bytes += length;
  fetch.download->verified(piece);
  const PieceRun run{piece, 1};
  model.upload->have({&run, 1});
  Announcements::came(model, piece, now);
}

void Fetches::undurable(Model& model, std::uint64_t bytes, Time now) {
  Fetching& fetch = model.fetching();
  if (bytes < fetch.undurable_bytes) fetch.patience.progress(now);  // a slow disk is no stall
  fetch.undurable_bytes = bytes;
  model.counters.undurable_peak_bytes = std::max(model.counters.undurable_peak_bytes, bytes);
}

}  // namespace shardswarm
