// What a peer said: from session events to models and schedulers.
#include <algorithm>
#include <numeric>
#include <utility>

#include "base/address.h"
#include "swarm/core_state.h"
#include "wire/blob_codec.h"

namespace shardswarm {
namespace {

// "host" of "host:port" or "[v6]:port".
std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }

}  // namespace

void Core::drain(Link& link, Time now) {
  bool changed = false;
  while (auto e = link.session.next_event()) {
    changed = changed || !std::holds_alternative<event::PieceBytes>(*e);
    std::visit([&](auto&& what) { on(link, std::forward<decltype(what)>(what), now); },
               std::move(*e));
    if (link.close_asked) break;
  }
  // Most calls are about a part of a piece: nobody needs to look at the link for that.
  if (changed) output_ready_.insert(link.id);
}

Core::Model* Core::model_of(Link& link, Channel channel) {
  const auto it = link.by_channel.find(channel);
  return it == link.by_channel.end() ? nullptr : find_model(it->second);
}

bool Core::within(Link& link, const Model& model, std::span<const PieceRun> pieces) {
  const bool ok = std::all_of(pieces.begin(), pieces.end(), [&](const PieceRun& run) {
    return std::uint64_t{run.first.value} + run.count <= model.manifest->piece_count();
  });
  if (!ok) protocol_error(link, "pieces outside the model");
  return ok;
}

// These pieces, and `times` all pieces of the model (WIRE-68). REQUIRES: the manifest is known.
bool Core::may_name(Link& link, const Model& model, std::span<const PieceRun> pieces,
                    std::uint32_t times, Time now) {
  NamedBudget& named = link.models.at(model.key).named;
  const bool ok = named.spend(pieces, times, model.manifest->piece_count(), now);
  if (!ok) protocol_error(link, "it names the same pieces again and again");
  return ok;
}

void Core::on(Link& link, event::Ready&& e, Time now) {
  const NodeId node = e.hello.node_id;
  if (banned_.contains(node)) {
    close_link(link, CloseReason::kBadData, "this node sent bad data before");
    return;
  }
  // Of two connections between the same nodes both ends keep the one whose dialer has the smaller
  // id, so that they agree without asking.
  if (const auto other = link_by_node_.find(node); other != link_by_node_.end()) {
    Link* old = find_link(other->second);
    const NodeId& old_dialer = old->dialed ? options_.hello.node_id : node;
    const NodeId& new_dialer = link.dialed ? options_.hello.node_id : node;
    Link& loser = old->close_asked || new_dialer < old_dialer ? *old : link;
    Link& winner = &loser == old ? link : *old;
    for (std::string& address : loser.dialed_addresses) {
      addresses_.connected(address, now);
      winner.dialed_addresses.push_back(std::move(address));
    }
    loser.dialed_addresses.clear();
    close_link(loser, CloseReason::kDuplicate, "another connection to this node stands");
    if (&loser == &link) return;
  }
  link.near = e.hello.site == options_.hello.site;
  take_in(link, now);
  link_by_node_[node] = link.id;
  link.hello = std::move(e.hello);
  count_neighbour(link);
  for (const std::string& address : link.dialed_addresses) addresses_.connected(address, now);
  if (!link.hello->advertised.empty()) {
    link.told_addresses = link.hello->advertised;
  } else if (link.dialed) {
    link.told_addresses = {link.address};
  } else if (link.hello->listen_port != 0) {
    link.told_addresses = {host_of(link.address) + ":" + std::to_string(link.hello->listen_port)};
  }
  log(false, "connected to " + link.address + " (" + to_hex(node).substr(0, 12) + ", " +
                 link.hello->agent + ")");
  link.session.ping(++link.ping_token);
  link.ping_sent = now;
  link.ping_pending = true;
  // Where it can be dialed is believed as far as it is the host that it came from.
  for (const std::string& address : link.told_addresses) {
    if (!link.dialed && host_of(address) == host_of(link.address) &&
        addresses_.came(address, now)) {
      link.dialed_addresses.push_back(address);
    }
  }
  if (link.visiting) remember(link, now);
  for (auto& [key, model] : models_) {
    if (!model->sharing) open_on(link, *model);
    // The source that was waited for has all the time that it would have had at the start.
    if (!model->reached && now < model->wait_until) model->last_progress = now;
  }
}

void Core::on(Link& link, event::Opened&& e, Time now) {
  Model* model = find_model(e.model);
  if (model == nullptr && !link.visiting) model = add_shared(link, e.model, now);
  if (model == nullptr) {
    link.session.unknown_model(e.channel);
    return;
  }
  open_on(link, *model);
  const auto at = link.models.find(model->key);
  if (at == link.models.end()) return;
  at->second.answered = neighbours_changed_ = true;
  if (link.visiting) {
    tell_visitor(link, *model, e.channel, now);
  } else {
    introduce(link, *model, at->second, now);
  }
}

void Core::on(Link& link, event::UnknownModel&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  LinkModel& at = link.models.at(model->key);
  at.answered = neighbours_changed_ = true;
  part(link, *model, at, "it does not have the model any more", now);
}

void Core::on(Link& link, event::Have&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  LinkModel& at = link.models.at(model->key);
  model->reached = true;
  if (!at.introduced) {
    if (model->sharing) return;  // nothing is asked for
    if (at.early_have.size() + e.pieces.size() > kEarlyRunsMax) {
      protocol_error(link, "too many piece runs before the manifest");
      return;
    }
    at.early_have.insert(at.early_have.end(), e.pieces.begin(), e.pieces.end());
    return;
  }
  if (!within(link, *model, e.pieces) || !may_name(link, *model, e.pieces, 0, now)) return;
  if (model->fetching) model->download->peer_has(link.id, e.pieces);
  if (!model->gone.empty()) {
    for (const PieceRun& run : e.pieces) model->gone.erase(run);
  }
  model->upload->peer_has(link.id, e.pieces, now);
}

void Core::on(Link& link, event::Lost&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !link.models.at(model->key).introduced) return;
  if (!within(link, *model, e.pieces) || !may_name(link, *model, e.pieces, 0, now)) return;
  if (model->fetching) {
    model->download->peer_lost(link.id, e.pieces);
    note_gone(link, *model, e.pieces);
  }
  model->upload->peer_lost(link.id, e.pieces);
}

void Core::on(Link& link, event::Want&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  LinkModel& at = link.models.at(model->key);
  at.wants = !e.pieces.empty();
  if (!at.wants) model->left = true;
  if (model->manifest && (!within(link, *model, e.pieces) || !may_name(link, *model, {}, 1, now))) {
    return;
  }
  if (!at.introduced) {
    at.early_want = std::move(e.pieces);
    if (!model->sharing) return;
    if (at.early_want.size() > kSharedEarlyRunsMax) at.early_want.resize(kSharedEarlyRunsMax);
    wanted_of_shared(*model, at.early_want);
    return;
  }
  if (model->sharing) wanted_of_shared(*model, e.pieces);
  if (model->fetching) model->download->peer_wants(link.id, e.pieces);
  model->upload->peer_wants(link.id, e.pieces);
}

void Core::on(Link& link, event::Request&& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  if (!link.models.at(model->key).introduced) {
    link.session.reject(e.channel, e.pieces, RejectReason::kNotHere);
    return;
  }
  if (!within(link, *model, e.pieces)) return;
  const auto refused = model->upload->asked(link.id, e.pieces, e.credit_bytes, e.any);
  if (!refused.not_here.empty()) {
    link.session.reject(e.channel, refused.not_here, RejectReason::kNotHere);
  }
  if (!refused.leased.empty()) {
    link.session.reject(e.channel, refused.leased, RejectReason::kLeased);
  }
  uploads_due_.insert(link.id);
}

void Core::on(Link& link, event::Claim&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr || !model->fetching || !link.models.at(model->key).introduced) return;
  if (!within(link, *model, e.pieces)) return;
  const auto pieces =
      std::accumulate(e.pieces.begin(), e.pieces.end(), std::uint64_t{0},
                      [](std::uint64_t sum, const PieceRun& run) { return sum + run.count; });
  if (pieces > limits::kClaimPiecesMax) {
    protocol_error(link, "it claims too many pieces at once");
    return;
  }
  std::vector<PieceRun> unwelcome;
  for (const PieceRun& run : e.pieces) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const PieceIndex piece(run.first.value + i);
      if (!model->wanted.contains(piece)) {
        protocol_error(link, "it claims a piece that was not asked for");
        return;
      }
      if (!model->download->claimed(link.id, piece, now)) unwelcome.push_back({piece, 1});
    }
  }
  if (!unwelcome.empty()) link.session.cancel(e.channel, unwelcome, 0);
}

// What is sent in place of the blob to who can zstd; null if that is the blob itself. However many
// ask, a blob is compressed once.
Blob Core::compressed(Model& model, const Digest& digest, const Blob& blob) {
  const auto known = model.compressed.find(digest);
  if (known != model.compressed.end()) return known->second;
  if (manifest(model.key)->is_piece_list(digest)) return nullptr;  // digests have no pattern
  Blob shorter;
  if (auto bytes = compress_blob(*blob)) {
    if (bytes->size() <= kCompressedKeptBytesMax - model.compressed_bytes) {
      model.compressed_bytes += bytes->size();
      shorter = std::make_shared<const std::vector<std::byte>>(std::move(*bytes));
    }
  }
  model.compressed.emplace(digest, shorter);
  return shorter;
}

void Core::on(Link& link, event::BlobRequest&& e, Time /*now*/) {
  Model* model = model_of(link, e.channel);
  const auto known = model == nullptr ? nullptr : manifest(model->key);
  const Blob blob = known ? known->find_blob(e.digest) : nullptr;
  const bool zstd = (link.session.features_in_use() & kFeatureZstdBlobs) != 0;
  if (blob) {
    const Blob shorter = zstd ? compressed(*model, e.digest, blob) : nullptr;
    link.session.send_blob(e.channel, e.request, shorter ? shorter : blob, shorter != nullptr);
  } else {
    link.session.reject_blob(e.channel, e.request);  // also of a model that was just given up
  }
}

void Core::on(Link& link, event::BlobChunk&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  model->counters.manifest_bytes += e.bytes.size();
  if (!model->is_learning()) return;
  model->reached = true;
  model->blob_bytes_uncounted += e.bytes.size();
  if (e.last || model->blob_bytes_uncounted >= kBlobProgressBytes) {
    model->blob_bytes_uncounted = 0;
    model->last_progress = now;
  }
  const auto taken = model->learning->chunk(link.id,
                                            {.request = e.request,
                                             .offset = e.offset,
                                             .bytes = e.bytes,
                                             .last = e.last,
                                             .compressed = e.compressed},
                                            now);
  if (!taken) {
    switch (taken.error().code) {
      case Errc::kProtocol:
        protocol_error(link, taken.error().message);
        break;
      case Errc::kCorrupt:
        ban(link, taken.error().message);
        break;
      default:
        if (model->sharing) {
          end_shared(model->key, true, now);
        } else {
          fetch_failed(model->key, taken.error(), now);
        }
        break;
    }
    return;
  }
  if (!model->learning->done()) return;
  if (model->sharing) {
    shared_manifest_known(*model, now);
  } else {
    manifest_known(*model);
  }
}

void Core::on(Link& link, event::BlobReject&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model != nullptr && model->learning) model->learning->rejected(link.id, e.request, now);
}

void Core::on(Link& link, event::Peers&& e, Time now) {
  Model* model = model_of(link, e.channel);
  if (model == nullptr) return;
  if (model->fetching && model->tellers.size() < kTalliesMax) {
    model->tellers.insert(link.hello->node_id);
  }
  std::vector<NodeId> connected;
  for (const PeerAddress& peer : e.peers) {
    if (peer.connected) connected.push_back(peer.id);
    if (peer.id == options_.hello.node_id || link_by_node_.contains(peer.id)) continue;
    // Numbers alone: names would let a peer occupy the resolver, or aim us at whom it likes.
    if (model->fetching && is_numeric_address(peer.address)) {
      addresses_.add_learned(peer.address, link.hello->node_id,
                             peer.site == site_tag(options_.hello.site), now);
    }
  }
  LinkModel& at = link.models.at(model->key);
  std::ranges::sort(connected);  // a node with several addresses stands there several times
  connected.erase(std::ranges::unique(connected).begin(), connected.end());
  at.connected_to = std::move(connected);
  if (at.introduced) model->upload->peer_connected_to(link.id, at.connected_to);
}

void Core::on(Link& link, event::Pong&& e, Time now) {
  if (!link.ping_pending || e.token != link.ping_token) return;
  link.ping_pending = false;
  const Duration rtt = now - link.ping_sent;
  for (auto& [key, at] : link.models) {
    Model* model = find_model(key);
    if (model != nullptr && model->fetching && at.introduced) {
      model->download->measured_round_trip(link.id, rtt);
    }
  }
}

void Core::on(Link& link, event::Closed&& e, Time now) {
  if (e.reason == CloseReason::kSelf || e.reason == CloseReason::kBadData) {
    for (const std::string& address : link.dialed_addresses) addresses_.never(address);
  }
  if (e.reason == CloseReason::kOverload) {
    found_full(link, now);
  } else if (e.reason == CloseReason::kShutdown) {
    link.error = Error{Errc::kUnreachable, "its node was stopped"};
  } else if (e.reason != CloseReason::kDuplicate && e.reason != CloseReason::kDone) {
    const Errc code = e.reason == CloseReason::kVersion ? Errc::kVersion : Errc::kUnreachable;
    link.error = Error{
        code, "closed by the peer (" + std::string(close_reason_name(e.reason)) + "): " + e.text};
  }
  close_link(link, CloseReason::kDone, "");
}

void Core::on(Link& link, event::Failed&& e, Time /*now*/) {
  if (e.error.code == Errc::kRefused && options_.insecure) {
    e.error.message += ", without --insecure";
  }
  if (link.hello) log(true, "peer " + link.address + ": " + e.error.message);
  if (e.reason == CloseReason::kSelf) {
    for (const std::string& address : link.dialed_addresses) addresses_.never(address);
  }
  link.error = std::move(e.error);
  close_link(link, e.reason, link.error->message);
}

}  // namespace shardswarm
