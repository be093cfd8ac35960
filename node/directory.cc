#include "node/directory.h"

#include <algorithm>
#include <thread>

#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

unsigned cores() { return std::max(1U, std::thread::hardware_concurrency()); }

}  // namespace

Result<IndexReport> index_directory(const IndexOptions& options) {
  Workers workers(cores());
  return index_directory(options, workers);
}

Result<VerifyReport> verify_directory(const std::filesystem::path& directory,
                                      const std::filesystem::path& state_directory, bool full) {
  std::string notice;
  const auto engine = make_io_engine(EngineKind::kPosix, nullptr, notice);
  Workers workers(cores());
  return verify_directory({.engine = *engine, .workers = workers, .post = {}}, directory,
                          state_directory, full);
}

Result<std::shared_ptr<const Manifest>> find_manifest(
    const std::filesystem::path& place, const std::filesystem::path& state_directory) {
  std::error_code ec;
  if (std::filesystem::is_directory(place, ec)) {
    return load_directory_manifest(place, state_directory);
  }
  if (std::filesystem::is_regular_file(place, ec)) {
    auto manifest = load_manifest_from(place.parent_path());
    if (!manifest) return std::unexpected(manifest.error());
    return *manifest;
  }
  if (const auto id = digest_from_hex(place.string())) return load_manifest(state_directory, *id);
  return fail(Errc::kNotFound,
              "'" + place.string() + "' is no directory, ticket, manifest or id of a known model");
}

}  // namespace shardswarm
