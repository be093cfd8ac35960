#include "simulator/members.h"

#include <optional>
#include <set>

namespace shardswarm::sim {

Result<Json> parse_json(std::string_view text) {
  std::vector<std::set<std::string>> open;  // names so far, of each object around the place
  std::optional<std::string> twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      if (!open.back().insert(name).second) twice = name;
    }
    return true;
  };
  try {
    Json json = Json::parse(text, watch);
    if (twice) return fail(Errc::kUsage, "member '" + *twice + "' is there twice");
    return json;
  } catch (const Json::exception& e) {
    return fail(Errc::kUsage, std::string("no JSON: ") + e.what());
  }
}

Value Value::member(const std::string& name) const {
  return {json_->at(name), place_.empty() ? name : place_ + "." + name};
}

std::unexpected<Error> Value::error(std::string_view what) const {
  return fail(Errc::kUsage, (place_.empty() ? "the scenario" : place_) + " " + std::string(what));
}

template <class T>
Result<void> Value::read_text(T& to, Result<T> (*parse)(std::string_view)) const {
  std::string text;
  if (auto read_it = read(text); !read_it) return read_it;
  auto parsed = parse(text);
  if (!parsed) return error("is wrong: " + parsed.error().message);
  to = std::move(*parsed);
  return {};
}

Result<void> Value::read(bool& to) const {
  if (!json_->is_boolean()) return error("is neither true nor false");
  to = json_->get<bool>();
  return {};
}

Result<void> Value::read(std::string& to) const {
  const auto* text = json_->get_ptr<const std::string*>();
  if (!text || text->empty()) return error("is no text");
  to = *text;
  return {};
}

Result<void> Value::read(std::vector<std::string>& to) const {
  auto values = elements();
  if (!values) return std::unexpected(values.error());
  to.clear();
  for (const Value& value : *values) {
    if (auto done = value.read(to.emplace_back()); !done) return done;
  }
  return {};
}

Result<void> Value::read(Duration& to) const { return read_text(to, parse_duration); }

Result<void> Value::read_count(std::uint32_t& to, std::uint32_t max) const {
  if (!json_->is_number_unsigned() || json_->get<std::uint64_t>() == 0 ||
      json_->get<std::uint64_t>() > max) {
    return error("is no whole number of 1 to " + std::to_string(max));
  }
  to = json_->get<std::uint32_t>();
  return {};
}

Result<void> Value::read_rate(double& to) const {
  if (auto done = read_text(to, parse_rate); !done) return done;
  if (to <= 0) return error("is a rate of zero");
  return {};
}

Result<void> Value::read_bytes(std::uint64_t& to, std::uint64_t max) const {
  if (auto done = read_text(to, parse_bytes); !done) return done;
  if (to == 0 || to > max) return error("is not within 1 to " + std::to_string(max) + " bytes");
  return {};
}

Result<void> Value::read_bytes(std::uint32_t& to, std::uint32_t max) const {
  std::uint64_t bytes = 0;
  if (auto done = read_bytes(bytes, max); !done) return done;
  to = static_cast<std::uint32_t>(bytes);
  return {};
}

Result<std::vector<Value>> Value::elements() const {
  if (!json_->is_array()) return error("is no array");
  std::vector<Value> values;
  for (std::size_t i = 0; i < json_->size(); ++i) {
    values.emplace_back((*json_)[i], place_ + "[" + std::to_string(i) + "]");
  }
  return values;
}

}  // namespace shardswarm::sim
