// Reading JSON objects by tables: each member's name and where its value goes. What a table does
// not name is an error, and every error says where it stands ("nodes[1].up").
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulator/quantity.h"

namespace shardswarm::sim {

using Json = nlohmann::json;

// kUsage for what is no JSON and for members that are there twice.
Result<Json> parse_json(std::string_view text);

// A value and its place.
class Value {
 public:
  Value(const Json& json, std::string place) : json_(&json), place_(std::move(place)) {}

  const Json& json() const { return *json_; }
  Value member(const std::string& name) const;  // REQUIRES: an object that has it
  std::unexpected<Error> error(std::string_view what) const;

  // Each fails, and names the place, if the value is of another kind.
  Result<void> read(bool& to) const;
  Result<void> read(std::string& to) const;               // not empty
  Result<void> read(std::vector<std::string>& to) const;  // an array of such
  Result<void> read(Duration& to) const;
  Result<void> read_count(std::uint32_t& to, std::uint32_t max) const;  // 1..max
  Result<void> read_rate(double& to) const;                             // more than nothing
  Result<void> read_bytes(std::uint64_t& to, std::uint64_t max) const;  // 1..max
  Result<void> read_bytes(std::uint32_t& to, std::uint32_t max) const;
  Result<std::vector<Value>> elements() const;  // of an array

 private:
  template <class T>
  Result<void> read_text(T& to, Result<T> (*parse)(std::string_view)) const;

  const Json* json_;
  std::string place_;
};

template <class T>
struct Member {
  std::string_view name;
  Result<void> (*read)(T&, const Value&);
};

// Members of an object, in the order of their names.
template <class T>
Result<void> read_members(T& to, const Value& object, std::span<const Member<T>> table) {
  if (!object.json().is_object()) return object.error("is no object");
  for (const auto& item : object.json().items()) {
    const Member<T>* found = nullptr;
    std::string names;
    for (const Member<T>& member : table) {
      if (member.name == item.key()) found = &member;
      names += (names.empty() ? "" : " ") + std::string(member.name);
    }
    const Value value = object.member(item.key());
    if (!found) return value.error("is unknown here; there are: " + names);
    if (auto read = found->read(to, value); !read) return read;
  }
  return {};
}

}  // namespace shardswarm::sim
