# A program that runs where none of our libraries are installed: all of them are linked in, and so is
# libstdc++. What stays outside is the C library and libgcc_s.so.1, which every distribution installs: the
# unwinder in libgcc_eh.a of Debian 12 would ask for glibc 2.35.
set(SHARDSWARM_PORTABLE "" CACHE PATH
    "directory with Debian's unpacked sources fmtlib-* and simdjson-*: link all libraries in")

if(SHARDSWARM_PORTABLE)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(OPENSSL_USE_STATIC_LIBS ON)
  set(Protobuf_USE_STATIC_LIBS ON)
  add_link_options(-static-libstdc++)
endif()

# Debian has no archives of these two, hence they are compiled from its source packages, against the
# headers that are installed. Definitions are those of the shared libraries, so that ccache finds the
# objects of the rest.
function(shardswarm_linked_in name definitions pattern)
  file(GLOB source "${SHARDSWARM_PORTABLE}/${pattern}")
  if(NOT source)
    message(FATAL_ERROR "there is no ${pattern} in SHARDSWARM_PORTABLE (${SHARDSWARM_PORTABLE})")
  endif()
  add_library(linked_in_${name} STATIC ${source})
  target_compile_definitions(linked_in_${name} PUBLIC ${definitions})
  add_library(${name}::${name} ALIAS linked_in_${name})
endfunction()

if(SHARDSWARM_PORTABLE)
  shardswarm_linked_in(fmt "FMT_SHARED" "fmtlib-*/src/format.cc")
  shardswarm_linked_in(simdjson "SIMDJSON_THREADS_ENABLED=1" "simdjson-*/singleheader/simdjson.cpp")
  # Objects, because the archive of libstdc++ is searched behind all others.
  add_library(shardswarm_older_glibc OBJECT "${PROJECT_SOURCE_DIR}/cmake/older_glibc.cc")
endif()
