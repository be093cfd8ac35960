# Standard headers, compiled once for many units. Libraries do without: their units spend most of their
# time in code of their own, and each would wait for the header.
option(SHARDSWARM_PRECOMPILED "compile the standard headers of programs and tests once" ON)

# Targets compile cmake/precompiled/<name>.h first, from what target shardswarm_precompiled_<name> made
# of it. Options that change code (-O, -f, -D) have to be those of the header.
function(shardswarm_precompiled name)
  cmake_parse_arguments(HEADER "" "" "LINK;OPTIONS" ${ARGN})
  if(SHARDSWARM_PRECOMPILED)
    # A precompiled header has to belong to a target that compiles something.
    set(unit "${CMAKE_CURRENT_BINARY_DIR}/precompiled_${name}.cc")
    file(CONFIGURE OUTPUT "${unit}" CONTENT "")
    add_library(shardswarm_precompiled_${name} OBJECT "${unit}")
    target_include_directories(shardswarm_precompiled_${name} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_compile_options(shardswarm_precompiled_${name} PRIVATE ${HEADER_OPTIONS})
    # Without the time in it, ccache knows clang's header again.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
      target_compile_options(shardswarm_precompiled_${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
    endif()
    target_link_libraries(shardswarm_precompiled_${name} PRIVATE ${HEADER_LINK})
    target_precompile_headers(shardswarm_precompiled_${name} PRIVATE
      <cmake/precompiled/${name}.h>)
  endif()
endfunction()

function(shardswarm_use_precompiled target name)
  if(TARGET shardswarm_precompiled_${name})
    # With the header's libraries come their definitions: g++ refuses the header where one is missing.
    get_target_property(libraries shardswarm_precompiled_${name} LINK_LIBRARIES)
    target_link_libraries(${target} PRIVATE ${libraries})
    target_precompile_headers(${target} REUSE_FROM shardswarm_precompiled_${name})
  endif()
endfunction()
