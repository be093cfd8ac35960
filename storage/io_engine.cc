#include "storage/io_engine.h"

#include "storage/engines.h"

namespace shardswarm {

std::optional<EngineKind> engine_kind_from_name(std::string_view name) {
  if (name == "uring") return EngineKind::kUring;
  if (name == "posix") return EngineKind::kPosix;
  return std::nullopt;
}

std::unique_ptr<IoEngine> make_io_engine(EngineKind kind, BufferPool* pool, std::string& notice) {
#ifdef SHARDSWARM_URING
  if (kind != EngineKind::kPosix) {
    auto engine = make_uring_engine(pool, notice);
    if (engine) return std::move(*engine);
    notice = "io_uring is not to be had (" + engine.error().message + "): using pread and pwrite";
  }
#else
  (void)pool;
  if (kind == EngineKind::kUring) notice = "built without io_uring: using pread and pwrite";
#endif
  return make_posix_engine();
}

}  // namespace shardswarm
