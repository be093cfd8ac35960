// The engines behind make_io_engine.
#pragma once

#include <memory>
#include <string>

#include "storage/io_engine.h"

namespace shardswarm {

std::unique_ptr<IoEngine> make_posix_engine();
// kPermission or kIo when the kernel does not let us; `notice` when buffers cannot be registered.
Result<std::unique_ptr<IoEngine>> make_uring_engine(BufferPool* pool, std::string& notice);

}  // namespace shardswarm
