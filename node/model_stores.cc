#include "node/model_stores.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "node/connection.h"
#include "node/shell_context.h"
#include "node/turns.h"

namespace shardswarm {

ModelStores::ModelStores(ShellContext& context, Turns& turns) : context_(context), turns_(turns) {
  std::string notice;
  engine_ = make_io_engine(context.options.io, &context.receive_buffers, notice);
  if (!notice.empty()) context.log(LogLevel::kWarning, notice);
  hashing_ = std::make_unique<Workers>(std::max(2U, std::thread::hardware_concurrency()));
  opening_ = std::make_unique<Workers>(1);
  finding_ = std::make_unique<Workers>(1);
  context.receive_buffers.on_release([this] { context_.post([this] { turns_.schedule(); }); });
  context.send_buffers.on_release([this] { context_.post([this] { prepare_waiting(); }); });
}

ModelStores::~ModelStores() {
  context_.receive_buffers.on_release({});
  context_.send_buffers.on_release({});
  stop_finding_ = true;
  finding_.reset();
  opening_.reset();
  hashing_.reset();
  engine_.reset();
}

StorageEnvironment ModelStores::environment() {
  return {.engine = *engine_, .workers = *hashing_, .post = [this](std::function<void()> job) {
            context_.post(std::move(job));
          }};
}

Store* ModelStores::find(ModelKey model) const {
  const auto at = stores_.find(model);
  return at == stores_.end() ? nullptr : at->second.get();
}

void ModelStores::open_target(Store::TargetOptions options,
                              std::shared_ptr<const Manifest> manifest, ResolvedSelection resolved,
                              Opened opened) {
  opening_->post([this, options = std::move(options), manifest = std::move(manifest),
                  resolved = std::move(resolved), opened = std::move(opened)] {
    auto result = std::make_shared<Result<std::shared_ptr<Store>>>(
        Store::open_target(environment(), options, manifest, resolved));
    context_.post([opened, result] { opened(std::move(*result)); });
  });
}

void ModelStores::count_local_bytes(ReuseQuery query, bool reuse,
                                    std::shared_ptr<const Manifest> manifest, PieceSet pieces,
                                    Counted counted) {
  opening_->post([this, query = std::move(query), reuse, manifest = std::move(manifest),
                  pieces = std::move(pieces), counted = std::move(counted)] {
    const LocalBytes local =
        shardswarm::count_local_bytes(environment(), query, reuse, *manifest, pieces);
    context_.post([counted, local] { counted(local); });
  });
}

// --- pieces in ---

void ModelStores::store(action::StorePiece&& a) {
  Store* const store = find(a.model);
  if (store == nullptr) return;
  const auto length = static_cast<std::uint32_t>(a.buffer.bytes().size());
  store->put(a.piece, std::move(a.buffer),
             [this, model = a.model, piece = a.piece, from = a.from, length,
              store](const Result<void>& result) {
               Core& core = context_.core;
               core.undurable(model, store->undurable_bytes(), context_.now());
               core.piece_stored(model, piece, from, length, result, context_.now());
               turns_.schedule();
             });
  context_.core.undurable(a.model, store->undurable_bytes(), context_.now());
}

void ModelStores::finish(const action::FinishStore& a) {
  const auto it = stores_.find(a.model);
  if (it == stores_.end()) return;
  it->second->finish([this, model = a.model, store = it->second](const Result<void>& finished) {
    const std::uint32_t lost = (store->wanted() - store->have()).count();
    if (finished && lost > 0) {
      context_.core.fetch_failed(
          model,
          {Errc::kIo, std::to_string(lost) + " pieces could not be read any more: run it again"});
    } else if (finished) {
      context_.core.store_finished(model, context_.now());
    } else {
      context_.core.fetch_failed(model, finished.error());
    }
    turns_.schedule();
  });
}

// --- pieces out ---

void ModelStores::prepare(const action::PreparePiece& a) {
  const auto connection = context_.connection(a.connection);
  const auto store = stores_.find(a.model);
  if (!connection || store == stores_.end()) {
    context_.core.piece_prepared(a.connection, a.model, a.piece, false);
    return;
  }
  // Directories of shared models are not locked: what is read is checked after reading, a range
  // might change until it is sent.
  if (!connection->can_send_file() || shared_.contains(a.model)) {
    prepare_bytes(a);
    return;
  }
  store->second->prepare_range(
      a.piece, [this, a, kept = store->second](const Result<FileRange>& range) {
        const auto to = context_.connection(a.connection);
        if (range && to) {
          to->prepared().add(a.model, a.piece,
                             std::make_shared<PreparedPiece>(PreparedPiece{*range, {}, kept}));
        }
        if (!range) could_not_read(a.model, a.piece, range.error());
        context_.core.piece_prepared(a.connection, a.model, a.piece, range.has_value());
        turns_.schedule();
      });
}

void ModelStores::prepare_bytes(const action::PreparePiece& a) {
  Store* const store = find(a.model);
  if (store == nullptr) {
    context_.core.piece_prepared(a.connection, a.model, a.piece, false);
    return;
  }
  auto buffer = context_.send_buffers.take(a.length);
  if (!buffer) {
    waiting_for_buffer_.push_back(a);
    return;
  }
  store->read_piece(a.piece, std::move(*buffer), [this, a](Result<PieceBuffer> bytes) {
    const auto to = context_.connection(a.connection);
    const bool ok = bytes.has_value();
    if (ok && to) {
      to->prepared().add(a.model, a.piece,
                         std::make_shared<PreparedPiece>(PreparedPiece{{}, std::move(*bytes), {}}));
    }
    if (!ok) could_not_read(a.model, a.piece, bytes.error());
    context_.core.piece_prepared(a.connection, a.model, a.piece, ok);
    turns_.schedule();
  });
}

void ModelStores::prepare_waiting() {
  for (const auto& piece : std::exchange(waiting_for_buffer_, {})) prepare_bytes(piece);
}

void ModelStores::release(const action::ReleasePiece& a) {
  if (const auto connection = context_.connection(a.connection)) {
    connection->prepared().release(a.model, a.piece);
  }
}

void ModelStores::piece_lost(ModelKey model, PieceIndex piece) {
  Store* const store = find(model);
  if (store == nullptr) return;
  store->forget(piece);
  context_.core.pieces_lost(model, store->have());
}

void ModelStores::could_not_read(ModelKey model, PieceIndex piece, const Error& error) {
  const Store* const store = find(model);
  if (store != nullptr && losses_.add(model, store->manifest().file_of(piece), context_.now())) {
    context_.log(LogLevel::kWarning,
                 error.message +
                     "; when the file is as it should be, run this command again (with other "
                     "content it is another model, with another ticket)");
  }
  piece_lost(model, piece);
}

// --- pieces of other models ---

void ModelStores::find_shared(action::FindShared&& a) {
  const auto manifest = context_.core.manifest(a.model);
  if (!manifest) return;  // given up since
  finding_->post([this, model = a.model, pieces = std::move(a.pieces), manifest] {
    const ReuseQuery query{.state_directory = context_.options.state_directory,
                           .not_here = {},
                           .for_copying = false,
                           .cancel = &stop_finding_};
    auto sources = std::make_shared<std::vector<ReuseSource>>(
        find_reusable(environment(), query, *manifest, pieces));
    context_.post([this, model, manifest, sources] {
      if (context_.core.manifest(model)) add_shared(model, manifest, std::move(*sources));
      turns_.schedule();
    });
  });
}

void ModelStores::add_shared(ModelKey model, std::shared_ptr<const Manifest> manifest,
                             std::vector<ReuseSource> sources) {
  std::shared_ptr<SharedStore>& store = shared_[model];
  if (!store) {
    store = std::make_shared<SharedStore>(environment(), std::move(manifest));
    stores_[model] = store;
  }
  store->add(std::move(sources));
  if (const PieceSet& have = store->have(); !have.empty()) {
    context_.log(LogLevel::kInfo, "serving " + std::to_string(have.count()) + " pieces of model " +
                                      to_hex(store->manifest().id()).substr(0, 12) +
                                      " out of other models");
  }
  context_.core.shared_found(model, store->have(), context_.now());
}

void ModelStores::end_shared(const action::ShareEnded& a) {
  shared_.erase(a.model);
  stores_.erase(a.model);
}

}  // namespace shardswarm
