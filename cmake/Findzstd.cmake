# Zstandard: Debian ships no CMake config. Target zstd::zstd.
find_path(zstd_INCLUDE_DIR zstd.h)
find_library(zstd_LIBRARY zstd)
if(zstd_INCLUDE_DIR AND EXISTS "${zstd_INCLUDE_DIR}/zstd.h")
  set(zstd_VERSION "")
  foreach(_zstd_part MAJOR MINOR RELEASE)
    file(STRINGS "${zstd_INCLUDE_DIR}/zstd.h" _zstd_line
         REGEX "^#define ZSTD_VERSION_${_zstd_part} +[0-9]+")
    string(REGEX REPLACE ".* ([0-9]+)$" "\\1" _zstd_line "${_zstd_line}")
    string(APPEND zstd_VERSION ".${_zstd_line}")
  endforeach()
  string(REGEX REPLACE "^\\." "" zstd_VERSION "${zstd_VERSION}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(zstd REQUIRED_VARS zstd_LIBRARY zstd_INCLUDE_DIR
                                  VERSION_VAR zstd_VERSION)
if(zstd_FOUND AND NOT TARGET zstd::zstd)
  add_library(zstd::zstd UNKNOWN IMPORTED)
  set_target_properties(zstd::zstd PROPERTIES
    IMPORTED_LOCATION "${zstd_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${zstd_INCLUDE_DIR}")
endif()
mark_as_advanced(zstd_INCLUDE_DIR zstd_LIBRARY)
