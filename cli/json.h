// JSON as every command writes it. Included by .cc files only: the library costs a second of
// compiling.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace shardswarm::cli {

using Json = nlohmann::ordered_json;

// Of the fields that programs rely on; docs/json.md lists them.
inline constexpr int kJsonSchema = 1;

// One line. Bytes that are not UTF-8 (file names may hold any) become U+FFFD.
inline std::string json_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shardswarm::cli
