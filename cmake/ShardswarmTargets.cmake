# Functions that make the project's targets alike: warnings, sanitizers, include directory.

# Designated initializers leave members at their defaults on purpose.
set(SHARDSWARM_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror
    -Wno-missing-field-initializers)

# GCC 12 at -O2/-O3 reports false positives inside its own std::variant, std::optional and
# std::string; these three are off for GCC only.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND SHARDSWARM_WARNINGS -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow)
endif()

# A unity build includes files into one another, and g++ takes their unnamed namespaces for a header's.
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND SHARDSWARM_WARNINGS -Wno-subobject-linkage)
endif()

# The tests' own code, and the LAN harness that starts other programs, run for an instant and take
# long to compile: g++ takes less time for them without -O2. What they test and measure is optimized.
set(SHARDSWARM_TEST_OPTIONS "")
set(SHARDSWARM_HARNESS_OPTIONS "")
if(NOT SHARDSWARM_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "Release")
  set(SHARDSWARM_TEST_OPTIONS -O0)
  set(SHARDSWARM_HARNESS_OPTIONS -Og)
endif()

# Sanitized builds keep the assertions; at -O1 they compile in half the time.
if(SHARDSWARM_SANITIZE)
  add_compile_options(-O1 -g1 -UNDEBUG -fno-omit-frame-pointer)
endif()
if(SHARDSWARM_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(SHARDSWARM_SANITIZE STREQUAL "thread")
  # TSan does not understand Asio's stand-alone fences.
  add_compile_options(-fsanitize=thread)
  add_compile_definitions(ASIO_DISABLE_FENCED_BLOCK)
  add_link_options(-fsanitize=thread)
elseif(SHARDSWARM_SANITIZE)
  message(FATAL_ERROR "SHARDSWARM_SANITIZE is '${SHARDSWARM_SANITIZE}': use address or thread")
endif()

# A room: library shardswarm_<name> from the .cc files given, compiled with OPTIONS beside the common ones,
# linking the libraries after LINK, with the headers of cmake/precompiled/<PRECOMPILED>.h, if given, compiled once.
function(shardswarm_room name)
  cmake_parse_arguments(ROOM "" "PRECOMPILED" "SOURCES;OPTIONS;LINK;PRIVATE_LINK" ${ARGN})
  add_library(shardswarm_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(shardswarm_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_compile_features(shardswarm_${name} PUBLIC cxx_std_23)
  target_compile_options(shardswarm_${name} PRIVATE ${SHARDSWARM_WARNINGS} ${ROOM_OPTIONS})
  target_link_libraries(shardswarm_${name} PUBLIC ${ROOM_LINK} PRIVATE ${ROOM_PRIVATE_LINK})
  shardswarm_use_precompiled(shardswarm_${name} "${ROOM_PRECOMPILED}")
endfunction()

# A program in build/bin.
function(shardswarm_program name)
  cmake_parse_arguments(PROGRAM "" "PRECOMPILED" "SOURCES;OPTIONS;LINK" ${ARGN})
  add_executable(${name} ${PROGRAM_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE ${SHARDSWARM_WARNINGS} ${PROGRAM_OPTIONS})
  target_link_libraries(${name} PRIVATE ${PROGRAM_LINK})
  shardswarm_use_precompiled(${name} "${PROGRAM_PRECOMPILED}")
endfunction()

# A GoogleTest program of one room, each TEST a ctest case.
function(shardswarm_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE ${SHARDSWARM_WARNINGS} ${SHARDSWARM_TEST_OPTIONS})
  target_link_libraries(${name} PRIVATE ${TEST_LINK} GTest::gmock GTest::gtest_main)
  shardswarm_use_precompiled(${name} tests)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
