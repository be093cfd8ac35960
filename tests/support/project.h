// Where the project's own files are, for tests that read the specification.
#pragma once

#include <filesystem>

namespace shardswarm::test {

// The checkout that the test runs in, found from the current directory upwards: compilers' paths
// of source files may be relative. Throws when run elsewhere.
std::filesystem::path project_root();

}  // namespace shardswarm::test
