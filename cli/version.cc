#include "cli/version.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include "cli/commit.h"

namespace shardswarm::cli {
namespace {

#ifdef SHARDSWARM_URING
constexpr const char* kUring = "built in";
#else
constexpr const char* kUring = "not built in";
#endif

#ifdef OPENSSL_NO_KTLS
constexpr const char* kKernelTls = "cannot hand TLS to the kernel";
#else
constexpr const char* kKernelTls = "can hand TLS to the kernel";
#endif

#ifdef __clang__
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

}  // namespace

std::string version_text() {
  const std::string commit =
      *kCommitDate != '\0' ? fmt::format("{} of {}", kCommit, kCommitDate) : std::string(kCommit);
  return fmt::format(
      "shardswarm {}\n"
      "commit:    {}\n"
      "OpenSSL:   {}, {}\n"
      "io_uring:  {}\n"
      "compiler:  {}",
      SHARDSWARM_VERSION, commit, OpenSSL_version(OPENSSL_VERSION_STRING), kKernelTls, kUring,
      kCompiler);
}

}  // namespace shardswarm::cli
