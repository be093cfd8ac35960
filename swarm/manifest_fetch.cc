#include "swarm/manifest_fetch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/limits.h"
#include "wire/blob_codec.h"

namespace shardswarm {
namespace {

constexpr std::size_t kRequestsPerPeer = 8;
// A peer that has been asked and sends nothing for this long is passed over.
constexpr Duration kSilence = std::chrono::seconds(5);
// Bytes a second, beyond that: what each of 32 peers gets of one with the lowest upload limit,
// whose manifest takes them all that long. To ask again would have it sent twice.
constexpr double kRateMin = 256;
// A peer that had not a blob when it was asked may have it by then.
constexpr Duration kRetry = std::chrono::seconds(2);

}  // namespace

ManifestFetch::ManifestFetch(const ModelId& id, Selection selection, Until until,
                             std::uint32_t first_request)
    : id_(id), selection_(std::move(selection)), until_(until), next_request_(first_request) {
  wanted_.emplace(id_, Wanted{.digest = id_, .bytes = limits::kRootBytesMax, .files = {}});
}

ManifestFetch ManifestFetch::of_files(const ModelId& id, std::vector<FileIndex> files,
                                      std::uint32_t first_request) {
  ManifestFetch fetch(id, {}, Until::kPieceLists, first_request);
  fetch.files_ = std::move(files);
  return fetch;
}

Result<void> ManifestFetch::know(const Manifest& kept) {
  if (kept.id() != id_) return {};
  wanted_.clear();
  manifest_ = std::make_shared<Manifest>(kept);
  return enter_headers();
}

void ManifestFetch::add_peer(PeerKey peer) { peers_.try_emplace(peer); }

void ManifestFetch::remove_peer(PeerKey peer) {
  peers_.erase(peer);
  lacked_.erase(peer);
  std::vector<std::uint32_t> lost;
  for (const auto& [request, pending] : pending_) {
    if (pending.peer == peer) lost.push_back(request);
  }
  for (const std::uint32_t request : lost) give_back(request);
}

void ManifestFetch::give_back(std::uint32_t request) {
  auto node = pending_.extract(request);
  if (node.empty()) return;
  Wanted& wanted = node.mapped().wanted;
  const Digest digest = wanted.digest;
  wanted_.emplace(digest, std::move(wanted));
}

// A peer that sends a byte now and then is as good as silent.
Time ManifestFetch::slow_at(const Pending& pending) {
  const double seconds = static_cast<double>(pending.bytes.size()) / kRateMin;
  return pending.since + kSilence +
         std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

std::vector<ManifestFetch::Ask> ManifestFetch::decide(Time now) {
  for (auto& [peer, refused] : peers_) {
    std::erase_if(refused, [now](const auto& entry) { return entry.second <= now; });
  }
  std::vector<std::uint32_t> silent;
  for (const auto& [request, pending] : pending_) {
    if (now - pending.last_heard >= kSilence || slow_at(pending) <= now) silent.push_back(request);
  }
  for (const std::uint32_t request : silent) {
    const auto& pending = pending_.at(request);
    peers_[pending.peer][pending.wanted.digest] = now + kRetry;
    give_back(request);
  }

  std::map<PeerKey, std::size_t> load;
  for (const auto& [peer, refused] : peers_) load[peer] = 0;
  for (const auto& [request, pending] : pending_) ++load[pending.peer];

  std::vector<Ask> asks;
  for (auto it = wanted_.begin(); it != wanted_.end();) {
    std::optional<PeerKey> best;
    for (const auto& [peer, refused] : peers_) {
      if (refused.contains(it->first)) continue;
      if (load[peer] < kRequestsPerPeer && (!best || load[peer] < load[*best])) best = peer;
    }
    if (!best) {
      ++it;
      continue;
    }
    ++load[*best];
    const std::uint32_t request = next_request_++;
    asks.push_back({.peer = *best, .request = request, .digest = it->first});
    pending_.emplace(request, Pending{*best, std::move(it->second), {}, now, now});
    it = wanted_.erase(it);
  }
  return asks;
}

bool ManifestFetch::asked(PeerKey peer) const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [peer](const auto& entry) { return entry.second.peer == peer; });
}

bool ManifestFetch::lacks(PeerKey peer) const {
  const auto lacked = lacked_.find(peer);
  if (lacked == lacked_.end() || done()) return false;
  return std::ranges::all_of(
             wanted_, [&](const auto& entry) { return lacked->second.contains(entry.first); }) &&
         std::ranges::all_of(pending_, [&](const auto& entry) {
           return lacked->second.contains(entry.second.wanted.digest);
         });
}

std::optional<Time> ManifestFetch::next_deadline() const {
  std::optional<Time> next;
  for (const auto& [request, pending] : pending_) {
    const Time due = std::min(pending.last_heard + kSilence, slow_at(pending));
    if (!next || due < *next) next = due;
  }
  for (const auto& [peer, refused] : peers_) {
    for (const auto& [digest, due] : refused) {
      if (wanted_.contains(digest) && (!next || due < *next)) next = due;
    }
  }
  return next;
}

Result<void> ManifestFetch::chunk(PeerKey peer, const Part& part, Time now) {
  const auto found = pending_.find(part.request);
  if (found == pending_.end() || found->second.peer != peer) return {};
  Pending& pending = found->second;
  pending.last_heard = now;
  if (const auto lacked = lacked_.find(peer); lacked != lacked_.end()) {
    lacked->second.erase(pending.wanted.digest);
  }
  if (part.offset != pending.bytes.size()) {
    return fail(Errc::kProtocol, "a blob came out of order");
  }
  // That holds for a compressed blob too: it is sent only where it is shorter.
  if (part.bytes.size() > pending.wanted.bytes - pending.bytes.size()) {
    return fail(Errc::kProtocol,
                "blob " + to_hex(pending.wanted.digest) + " is longer than stated");
  }
  pending.bytes.insert(pending.bytes.end(), part.bytes.begin(), part.bytes.end());
  if (!part.last) {
    if (part.bytes.empty()) return fail(Errc::kProtocol, "an empty part of a blob");
    return {};
  }
  if (part.compressed) {
    if (auto whole = decompress(pending); !whole) return whole;
  }
  Pending complete_one = std::move(pending);
  pending_.erase(found);
  if (sha256(complete_one.bytes) != complete_one.wanted.digest) {
    const Digest digest = complete_one.wanted.digest;
    wanted_.emplace(digest, std::move(complete_one.wanted));
    return fail(Errc::kCorrupt, "blob " + to_hex(digest) + " does not match its digest");
  }
  return complete(std::move(complete_one));
}

Result<void> ManifestFetch::decompress(Pending& pending) {
  auto content = decompress_blob(pending.bytes, pending.wanted.bytes);
  if (content) {
    pending.bytes = std::move(*content);
    return {};
  }
  const bool peers_fault =
      content.error().code == Errc::kMalformed || content.error().code == Errc::kLimit;
  return fail(peers_fault ? Errc::kProtocol : content.error().code,
              "blob " + to_hex(pending.wanted.digest) + ": " + content.error().message);
}

void ManifestFetch::rejected(PeerKey peer, std::uint32_t request, Time now) {
  const auto found = pending_.find(request);
  if (found == pending_.end() || found->second.peer != peer) return;
  if (const auto known = peers_.find(peer); known != peers_.end()) {
    known->second[found->second.wanted.digest] = now + kRetry;
    lacked_[peer].insert(found->second.wanted.digest);
  }
  give_back(request);
}

// From here on the content is what its digest says: errors are the model's, not the peer's.
Result<void> ManifestFetch::complete(Pending pending) {
  if (stage_ == Stage::kRoot) return take_root(std::move(pending.bytes));
  const auto blob = std::make_shared<const std::vector<std::byte>>(std::move(pending.bytes));
  for (const FileIndex file : pending.wanted.files) {
    auto added = stage_ == Stage::kHeaders ? manifest_->add_header(file, blob)
                                           : manifest_->add_piece_list(file, blob);
    // The digest held, so a bad length or header is the model's own fault: kProtocol and kCorrupt
    // are kept for what a peer did.
    if (!added) return fail(Errc::kMalformed, added.error().message);
  }
  if (!wanted_.empty() || !pending_.empty()) return {};
  return stage_ == Stage::kHeaders ? enter_piece_lists() : (stage_ = Stage::kDone, Result<void>{});
}

Result<void> ManifestFetch::take_root(std::vector<std::byte> bytes) {
  auto manifest = Manifest::from_root(bytes);
  if (!manifest) return std::unexpected(manifest.error());
  manifest_ = std::make_shared<Manifest>(std::move(*manifest));
  return enter_headers();
}

Result<void> ManifestFetch::enter_headers() {
  stage_ = Stage::kHeaders;
  for (const FileIndex file : files_ ? *files_ : headers_needed(selection_, manifest_->root())) {
    if (!manifest_->needs_header(file)) continue;
    const FileEntry& entry = manifest_->file(file);
    want_blob(entry.header_digest, entry.header_bytes, file);
  }
  return wanted_.empty() ? enter_piece_lists() : Result<void>{};
}

Result<void> ManifestFetch::enter_piece_lists() {
  if (files_) {
    want_lists(*files_);
    return {};
  }
  outline_ = make_outline(*manifest_);
  auto resolved = resolve(selection_, *manifest_, outline_);
  if (!resolved) return std::unexpected(resolved.error());
  resolved_ = std::move(*resolved);
  if (until_ == Until::kHeaders) {
    stage_ = Stage::kDone;
    return {};
  }
  std::vector<FileIndex> files;
  for (std::uint32_t i = 0; i < manifest_->file_count(); ++i) {
    if (resolved_.files[i]) files.push_back(FileIndex(i));
  }
  want_lists(files);
  return {};
}

void ManifestFetch::want_lists(const std::vector<FileIndex>& files) {
  stage_ = Stage::kPieceLists;
  for (const FileIndex file : files) {
    if (!manifest_->needs_piece_list(file)) continue;
    const FileEntry& entry = manifest_->file(file);
    want_blob(entry.piece_list_digest, std::uint64_t{entry.pieces} * sizeof(Digest), file);
  }
  if (wanted_.empty()) stage_ = Stage::kDone;
}

void ManifestFetch::want_blob(const Digest& digest, std::uint64_t bytes, FileIndex file) {
  auto [it, added] =
      wanted_.try_emplace(digest, Wanted{.digest = digest, .bytes = bytes, .files = {}});
  it->second.files.push_back(file);
}

}  // namespace shardswarm
