// What all stores have in common, and what those do that only serve: nothing can be put into them.
#pragma once

#include <memory>
#include <utility>

#include "storage/store.h"

namespace shardswarm {

// As of any store: all calls on the owner's thread.
class ServedStore : public Store {
 public:
  const Manifest& manifest() const override { return *manifest_; }
  std::shared_ptr<const Manifest> shared_manifest() const override { return manifest_; }
  const PieceSet& have() const override { return have_; }
  PieceSet wanted() const override { return PieceSet(manifest_->piece_count()); }

  PieceSet kept_back() const override { return PieceSet(manifest_->piece_count()); }
  const std::vector<std::string>& warnings() const override { return warnings_; }

  void put(PieceIndex, PieceBuffer, PutDone done) override {
    environment_.post([done = std::move(done)] {
      done(fail(Errc::kInternal, "this directory is open for reading only"));
    });
  }
  std::uint64_t undurable_bytes() const override { return 0; }
  void on_durable(std::function<void()>) override {}
  std::vector<std::string> take_named() override { return {}; }
  void finish(std::function<void(Result<void>)> done) override {
    environment_.post([done = std::move(done)] { done({}); });
  }

 protected:
  ServedStore(StorageEnvironment environment, std::shared_ptr<const Manifest> manifest)
      : environment_(std::move(environment)),
        manifest_(std::move(manifest)),
        have_(manifest_->piece_count()) {}

  StorageEnvironment environment_;
  std::shared_ptr<const Manifest> manifest_;
  PieceSet have_;
  std::vector<std::string> warnings_;
};

}  // namespace shardswarm
