// Blobs of manifests: asked of peers while a manifest is learned, and sent to peers that ask for
// them, compressed where both sides can, once however many ask.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstddef>
#include <map>

#include "base/error.h"
#include "base/time.h"
#include "piece/manifest.h"
#include "wire/session.h"

namespace shardswarm {

struct Context;
struct Link;
struct Model;

// Of a model.
class BlobRecord {
 private:
  friend class Blobs;
  std::map<Digest, Blob> compressed_;  // null: that blob is sent as it is
  std::size_t compressed_bytes_ = 0;
};

class Blobs {
 public:
  explicit Blobs(Context& context) : context_(context) {}

  // Asks for what is missing of the model's manifest. REQUIRES: it is being learned.
  void ask(const Model& model, Time now);
  // A part of a blob came. The same, and errors as of ManifestFetch::chunk().
  static Result<void> came(Link& link, Model& model, const event::BlobChunk& e, Time now);
  // Sends the blob, or says that it is not here. `model`: null if it was just given up.
  static void answer(Link& link, Model* model, const event::BlobRequest& e);

 private:
  static Blob compressed(Model& model, const Manifest& manifest, const Digest& digest,
                         const Blob& blob);

  Context& context_;
};

}  // namespace shardswarm
