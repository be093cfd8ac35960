# A source file that names the commit, made when the commit changes and then compiled alone.
set(SHARDSWARM_COMMIT "" CACHE STRING
    "\"HEX DATE\" of the commit, where the build cannot read it from a repository")

# Sets `variable` in the caller to the path of the source file, which defines what cli/commit.h
# declares. The log of HEAD grows with each commit and checkout: the build reads the commit again then.
function(shardswarm_commit_source variable)
  set(output "${CMAKE_CURRENT_BINARY_DIR}/commit.cc")
  set(script "${PROJECT_SOURCE_DIR}/cmake/commit.cmake")
  set(changes "")
  foreach(name logs/HEAD HEAD)
    if(EXISTS "${PROJECT_SOURCE_DIR}/.git" AND NOT changes)
      execute_process(COMMAND git -C "${PROJECT_SOURCE_DIR}" rev-parse --git-path ${name}
                      OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      get_filename_component(path "${path}" ABSOLUTE BASE_DIR "${PROJECT_SOURCE_DIR}")
      if(NOT IS_DIRECTORY "${path}" AND EXISTS "${path}")
        set(changes "${path}")
      endif()
    endif()
  endforeach()
  add_custom_command(OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${PROJECT_SOURCE_DIR}" "-DOUTPUT=${output}"
            "-DCOMMIT=${SHARDSWARM_COMMIT}" -P "${script}"
    DEPENDS "${script}" "${PROJECT_SOURCE_DIR}/cmake/commit.txt" ${changes}
    COMMENT "Reading the commit" VERBATIM)
  set_source_files_properties("${output}" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set(${variable} "${output}" PARENT_SCOPE)
endfunction()
