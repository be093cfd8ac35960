#include "swarm/blobs.h"

#include <memory>
#include <utility>
#include <vector>

#include "swarm/context.h"
#include "wire/blob_codec.h"

namespace shardswarm {
namespace {

// Kept of a model's compressed blobs; DeepSeek-V3's headers come to 1.2 MB. Further blobs are sent
// as they are.
constexpr std::size_t kCompressedKeptBytesMax = 16 * limits::kMiB;

}  // namespace

void Blobs::ask(const Model& model, Time now) {
  for (const ManifestFetch::Ask& wanted : model.learning()->decide(now)) {
    const auto [link, at] = context_.chosen(wanted.peer, model);
    if (link == nullptr) continue;
    link->session.request_blob(at->channel, wanted.request, wanted.digest);
    context_.links.mark_ready(*link);
  }
}

Result<void> Blobs::came(Link& link, Model& model, const event::BlobChunk& e, Time now) {
  if (Fetching* fetch = model.live_fetch()) {
    fetch->patience.peer_had_it();
    fetch->patience.blob_bytes(e.bytes.size(), e.last, now);
  }
  return model.learning()->chunk(link.id,
                                 {.request = e.request,
                                  .offset = e.offset,
                                  .bytes = e.bytes,
                                  .last = e.last,
                                  .compressed = e.compressed},
                                 now);
}

void Blobs::answer(Link& link, Model* model, const event::BlobRequest& e) {
  const auto manifest = model == nullptr ? nullptr : model->known_manifest();
  const Blob blob = manifest ? manifest->find_blob(e.digest) : nullptr;
  if (!blob) {
    link.session.reject_blob(e.channel, e.request);
    return;
  }
  const bool zstd = (link.session.features_in_use() & kFeatureZstdBlobs) != 0;
  const Blob shorter = zstd ? compressed(*model, *manifest, e.digest, blob) : nullptr;
  link.session.send_blob(e.channel, e.request, shorter ? shorter : blob, shorter != nullptr);
}

// What is sent in place of the blob to who can zstd; null if that is the blob itself.
Blob Blobs::compressed(Model& model, const Manifest& manifest, const Digest& digest,
                       const Blob& blob) {
  BlobRecord& record = model.blobs;
  const auto known = record.compressed_.find(digest);
  if (known != record.compressed_.end()) return known->second;
  if (manifest.is_piece_list(digest)) return nullptr;  // digests have no pattern
  Blob shorter;
  if (auto bytes = compress_blob(*blob)) {
    if (bytes->size() <= kCompressedKeptBytesMax - record.compressed_bytes_) {
      record.compressed_bytes_ += bytes->size();
      shorter = std::make_shared<const std::vector<std::byte>>(std::move(*bytes));
    }
  }
  record.compressed_.emplace(digest, shorter);
  return shorter;
}

}  // namespace shardswarm
