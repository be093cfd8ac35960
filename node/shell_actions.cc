// The shell's answers to the core: disk operations and connections.
#include <utility>

#include "node/shell.h"

namespace shardswarm {

void Shell::carry_out(action::Dial&& a) { dial(a.address); }

void Shell::carry_out(action::CloseConnection&& a) {
  if (const auto it = connections_.find(a.connection); it != connections_.end()) {
    const auto connection = it->second;
    connection->finish();
  }
}

void Shell::carry_out(action::ManifestReady&& a) {
  const auto it = fetches_.find(a.model);
  if (it == fetches_.end()) return;
  const std::shared_ptr<FetchState> fetch = it->second;
  const ResolvedSelection& resolved = core_->resolved(a.model);
  const auto manifest = core_->manifest(a.model);
  fetch->parts = resolved.parts;
  fetch->engine_setting = resolved.engine_setting;
  fetch->left_out = report_left_out(resolved, *manifest);
  if (fetch->kind != FetchState::Kind::kFetch) {
    make_plan(fetch, resolved);
    return;
  }
  fetch->opening = true;
  const Store::TargetOptions target{.directory = fetch->options.directory,
                                    .layout = fetch->options.layout,
                                    .step = HoldingStep{.drop = false, .selection = fetch->parts},
                                    .state_directory = options_.state_directory,
                                    .reuse = fetch->options.reuse,
                                    .recheck = fetch->options.recheck,
                                    .cancel = &fetch->cancel_opening};
  opening_->post([this, fetch, manifest, target, resolved] {
    auto opened = std::make_shared<Result<std::shared_ptr<Store>>>(
        Store::open_target(storage(), target, manifest, resolved));
    post([this, fetch, opened] { store_opened(fetch, std::move(*opened)); });
  });
}

// Of a fetch that moves nothing. What of it this machine has is looked up on a thread that may
// wait.
void Shell::make_plan(const std::shared_ptr<FetchState>& fetch, const ResolvedSelection& resolved) {
  const auto manifest = core_->manifest(*fetch->model);
  FetchPlan plan{.selected_bytes = resolved.bytes,
                 .manifest_bytes = core_->status(*fetch->model).manifest_bytes,
                 .pieces = resolved.pieces.count(),
                 .tensors = tensor_count(resolved.tensors),
                 .files = {},
                 .parts = fetch->parts,
                 .engine_setting = fetch->engine_setting,
                 .left_out = fetch->left_out};
  resolved.pieces.for_each(
      [&](PieceIndex piece) { plan.wanted_bytes += manifest->extent(piece).length; });
  for (std::uint32_t i = 0; i < manifest->file_count(); ++i) {
    if (resolved.files[i]) plan.files.push_back(manifest->file(FileIndex(i)).path);
  }
  {
    const std::scoped_lock lock(fetch->mutex);
    fetch->manifest = manifest;
    fetch->plan = std::move(plan);
  }
  if (fetch->kind == FetchState::Kind::kLearn || fetch->options.directory.empty()) {
    end_plan(fetch, {});
    return;
  }
  fetch->opening = true;
  opening_->post([this, fetch, manifest, pieces = resolved.pieces] {
    const ReuseQuery query{.state_directory = options_.state_directory,
                           .not_here = fetch->options.directory,
                           .for_copying = false,
                           .cancel = &fetch->cancel_opening};
    const LocalBytes local =
        count_local_bytes(storage(), query, fetch->options.reuse, *manifest, pieces);
    post([this, fetch, local] { end_plan(fetch, local); });
  });
}

void Shell::end_plan(const std::shared_ptr<FetchState>& fetch, const LocalBytes& local) {
  fetch->opening = false;
  if (fetch->ended_while_opening) {
    end_fetch(fetch, std::move(fetch->ended_while_opening));
    return;
  }
  {
    const std::scoped_lock lock(fetch->mutex);
    fetch->plan.here_bytes = local.in_directory;
    fetch->plan.elsewhere_bytes = local.elsewhere;
    fetch->plan.needed_bytes = local.needed;
    fetch->plan.free_bytes = local.free;
    if (!local.pieces.empty()) {
      fetch->plan.left_out =
          report_left_out(core_->resolved(*fetch->model), *fetch->manifest, local.pieces);
    }
  }
  fetch->resolve(report(*fetch));
  fetches_.erase(*fetch->model);
  core_->remove_model(*fetch->model);
  stop_if_quiet();
}

void Shell::carry_out(action::StorePiece&& a) {
  const auto it = stores_.find(a.model);
  if (it == stores_.end()) return;
  const auto length = static_cast<std::uint32_t>(a.buffer.bytes().size());
  it->second->put(a.piece, std::move(a.buffer),
                  [this, model = a.model, piece = a.piece, from = a.from, length,
                   store = it->second.get()](const Result<void>& result) {
                    core_->undurable(model, store->undurable_bytes(), now());
                    core_->piece_stored(model, piece, from, length, result, now());
                    schedule_turn();
                  });
  core_->undurable(a.model, it->second->undurable_bytes(), now());
}

void Shell::carry_out(action::PreparePiece&& a) {
  const auto connection = connections_.find(a.connection);
  const auto store = stores_.find(a.model);
  if (connection == connections_.end() || store == stores_.end()) {
    core_->piece_prepared(a.connection, a.model, a.piece, false);
    return;
  }
  // Directories of shared models are not locked: what is read is checked after reading, a range
  // might change until it is sent.
  if (!connection->second->can_send_file() || shared_.contains(a.model)) {
    prepare_bytes(a);
    return;
  }
  store->second->prepare_range(
      a.piece, [this, a, kept = store->second](const Result<FileRange>& range) {
        const auto at = connections_.find(a.connection);
        if (range && at != connections_.end()) {
          at->second->prepared(a.model, a.piece,
                               std::make_shared<PreparedPiece>(PreparedPiece{*range, {}, kept}));
        }
        if (!range) could_not_read(a.model, a.piece, range.error());
        core_->piece_prepared(a.connection, a.model, a.piece, range.has_value());
        schedule_turn();
      });
}

void Shell::prepare_bytes(const action::PreparePiece& a) {
  const auto store = stores_.find(a.model);
  if (store == stores_.end()) {
    core_->piece_prepared(a.connection, a.model, a.piece, false);
    return;
  }
  auto buffer = send_buffers_.take(a.length);
  if (!buffer) {
    waiting_for_send_buffer_.push_back(a);
    return;
  }
  store->second->read_piece(a.piece, std::move(*buffer), [this, a](Result<PieceBuffer> bytes) {
    const auto at = connections_.find(a.connection);
    const bool ok = bytes.has_value();
    if (ok && at != connections_.end()) {
      at->second->prepared(
          a.model, a.piece,
          std::make_shared<PreparedPiece>(PreparedPiece{{}, std::move(*bytes), {}}));
    }
    if (!ok) could_not_read(a.model, a.piece, bytes.error());
    core_->piece_prepared(a.connection, a.model, a.piece, ok);
    schedule_turn();
  });
}

void Shell::carry_out(action::ReleasePiece&& a) {
  if (const auto it = connections_.find(a.connection); it != connections_.end()) {
    it->second->release(a.model, a.piece);
  }
}

void Shell::carry_out(action::FinishStore&& a) {
  const auto it = stores_.find(a.model);
  if (it == stores_.end()) return;
  it->second->finish([this, model = a.model, store = it->second](const Result<void>& finished) {
    const std::uint32_t lost = (store->wanted() - store->have()).count();
    if (finished && lost > 0) {
      core_->fetch_failed(
          model,
          {Errc::kIo, std::to_string(lost) + " pieces could not be read any more: run it again"});
    } else if (finished) {
      core_->store_finished(model, now());
    } else {
      core_->fetch_failed(model, finished.error());
    }
    schedule_turn();
  });
}

void Shell::carry_out(action::FetchEnded&& a) {
  if (const auto it = fetches_.find(a.model); it != fetches_.end()) {
    end_fetch(std::shared_ptr<FetchState>(it->second), std::move(a.error));
  }
}

void Shell::carry_out(action::FindShared&& a) {
  const auto manifest = core_->manifest(a.model);
  if (!manifest) return;  // given up since
  finding_->post([this, model = a.model, pieces = std::move(a.pieces), manifest] {
    const ReuseQuery query{.state_directory = options_.state_directory,
                           .not_here = {},
                           .for_copying = false,
                           .cancel = &stop_finding_};
    auto sources = std::make_shared<std::vector<ReuseSource>>(
        find_reusable(storage(), query, *manifest, pieces));
    post([this, model, manifest, sources] {
      if (core_->manifest(model)) add_shared(model, manifest, std::move(*sources));
      schedule_turn();
    });
  });
}

void Shell::add_shared(ModelKey model, std::shared_ptr<const Manifest> manifest,
                       std::vector<ReuseSource> sources) {
  std::shared_ptr<SharedStore>& store = shared_[model];
  if (!store) {
    store = std::make_shared<SharedStore>(storage(), std::move(manifest));
    stores_[model] = store;
  }
  store->add(std::move(sources));
  if (const PieceSet& have = store->have(); !have.empty()) {
    log(LogLevel::kInfo, "serving " + std::to_string(have.count()) + " pieces of model " +
                             to_hex(store->manifest().id()).substr(0, 12) + " out of other models");
  }
  core_->shared_found(model, store->have(), now());
}

void Shell::carry_out(action::ShareEnded&& a) {
  shared_.erase(a.model);
  stores_.erase(a.model);
}

void Shell::carry_out(action::Log&& a) {
  log(a.warning ? LogLevel::kWarning : LogLevel::kInfo, a.text);
}

// With a file that changed the store lets go of all its pieces: peers are told of them at once.
void Shell::piece_lost(ModelKey model, PieceIndex piece) {
  const auto it = stores_.find(model);
  if (it == stores_.end()) return;
  it->second->forget(piece);
  core_->pieces_lost(model, it->second->have());
}

void Shell::could_not_read(ModelKey model, PieceIndex piece, const Error& error) {
  const auto it = stores_.find(model);
  if (it != stores_.end() && losses_.add(model, it->second->manifest().file_of(piece), now())) {
    log(LogLevel::kWarning, error.message +
                                "; when the file is as it should be, run this command again (with "
                                "other content it is another model, with another ticket)");
  }
  piece_lost(model, piece);
}

}  // namespace shardswarm
