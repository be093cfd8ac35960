# xxHash: Debian ships no CMake config. Target xxHash::xxHash.
find_path(xxHash_INCLUDE_DIR xxhash.h)
find_library(xxHash_LIBRARY xxhash)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(xxHash REQUIRED_VARS xxHash_LIBRARY xxHash_INCLUDE_DIR)
if(xxHash_FOUND AND NOT TARGET xxHash::xxHash)
  add_library(xxHash::xxHash UNKNOWN IMPORTED)
  set_target_properties(xxHash::xxHash PROPERTIES
    IMPORTED_LOCATION "${xxHash_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${xxHash_INCLUDE_DIR}")
endif()
# Shared libraries have it, Debian's archive has not.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES xxHash::xxHash)
check_cxx_source_compiles("
#include <xxh_x86dispatch.h>
int main() { return XXH3_64bits(nullptr, 0) == 0; }" xxHash_DISPATCH)
unset(CMAKE_REQUIRED_LIBRARIES)
mark_as_advanced(xxHash_INCLUDE_DIR xxHash_LIBRARY)
