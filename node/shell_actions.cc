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
  if (fetch->kind != FetchState::Kind::kFetch) {
    {
      const std::scoped_lock lock(fetch->mutex);
      fetch->manifest = manifest;
      fetch->plan = {.wanted_bytes = resolved.bytes,
                     .pieces = resolved.pieces.count(),
                     .tensors = resolved.tensors,
                     .files = {}};
      for (std::uint32_t i = 0; i < manifest->file_count(); ++i) {
        if (resolved.files[i]) fetch->plan.files.push_back(manifest->file(FileIndex(i)).path);
      }
    }
    fetch->resolve(report(*fetch));
    fetches_.erase(a.model);
    core_->remove_model(a.model);
    return;
  }
  fetch->opening = true;
  const Store::TargetOptions target{
      .directory = fetch->options.directory,
      .layout = resolved.everything ? Layout::kOriginal : Layout::kMirror,
      .cancel = &fetch->cancel_opening};
  opening_->post([this, fetch, manifest, target, resolved] {
    auto opened = std::make_shared<Result<std::shared_ptr<Store>>>(
        Store::open_target(storage(), target, manifest, resolved));
    post([this, fetch, opened] { store_opened(fetch, std::move(*opened)); });
  });
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
                    schedule_settle();
                  });
  core_->undurable(a.model, it->second->undurable_bytes(), now());
}

void Shell::carry_out(action::PreparePiece&& a) {
  const auto connection = connections_.find(a.connection);
  const auto store = stores_.find(a.model);
  if (connection == connections_.end() || store == stores_.end()) {
    core_->piece_prepared(a.connection, a.model, a.piece, false, now());
    return;
  }
  if (!connection->second->can_send_file()) {
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
        if (!range) {
          log(LogLevel::kWarning, range.error().message);
          core_->piece_lost(a.model, a.piece);
        }
        core_->piece_prepared(a.connection, a.model, a.piece, range.has_value(), now());
        schedule_settle();
      });
}

void Shell::prepare_bytes(const action::PreparePiece& a) {
  const auto store = stores_.find(a.model);
  if (store == stores_.end()) {
    core_->piece_prepared(a.connection, a.model, a.piece, false, now());
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
    if (!ok) {
      log(LogLevel::kWarning, bytes.error().message);
      core_->piece_lost(a.model, a.piece);
    }
    core_->piece_prepared(a.connection, a.model, a.piece, ok, now());
    schedule_settle();
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
  it->second->finish([this, model = a.model](const Result<void>& finished) {
    if (finished) {
      core_->store_finished(model, now());
    } else {
      core_->fetch_failed(model, finished.error(), now());
    }
    schedule_settle();
  });
}

void Shell::carry_out(action::FetchEnded&& a) {
  if (const auto it = fetches_.find(a.model); it != fetches_.end()) {
    end_fetch(std::shared_ptr<FetchState>(it->second), std::move(a.error));
  }
}

void Shell::carry_out(action::Log&& a) {
  log(a.warning ? LogLevel::kWarning : LogLevel::kInfo, a.text);
}

void Shell::piece_lost(ModelKey model, PieceIndex piece) {
  if (const auto it = stores_.find(model); it != stores_.end()) it->second->forget(piece);
  core_->piece_lost(model, piece);
}

}  // namespace shardswarm
