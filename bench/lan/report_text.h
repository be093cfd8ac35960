// Text of the report: escaping, units, and figures that carry their raw value.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/lan/json.h"

namespace shardswarm::bench {

// A value within the result, and its JSON pointer. The result outlives it. Throws what
// nlohmann::json throws where the value has not the shape that is asked for.
class Place {
 public:
  explicit Place(const Json& json, Json::json_pointer pointer = Json::json_pointer())
      : json_(&json), pointer_(std::move(pointer)) {}

  const Json& json() const { return *json_; }
  std::string pointer() const { return pointer_.to_string(); }
  Place at(const std::string& key) const { return Place(json_->at(key), pointer_ / key); }
  // Null where there is no such member: results of older versions lack some.
  Place find(const std::string& key) const;
  std::vector<Place> elements() const;  // of an array

  bool null() const { return json_->is_null(); }
  double number() const { return json_->get<double>(); }
  std::string text() const { return json_->get<std::string>(); }

 private:
  const Json* json_;
  Json::json_pointer pointer_;
};

// Appends to a page what fmt makes of the arguments.
template <class... Args>
void add(std::string& page, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(page), format, std::forward<Args>(args)...);
}

// Safe in HTML text and in quoted attributes.
std::string escape(std::string_view text);

// 1.23, 12.3, 123.
std::string three_digits(double value);

// A number with its unit, three to four digits, a narrow no-break space between them.
using Unit = std::string (*)(double);
std::string seconds(double value);
std::string bytes(double value);            // KiB, MiB, GiB, TiB
std::string bits_per_second(double value);  // kbit/s, Mbit/s, Gbit/s
std::string times(double value);            // 1.23×
std::string count(double value);            // without decimals
std::string percent(double value);          // of a share: 0.5 is 50 %
std::string milliseconds(double value);     // of seconds, with its sign

// The attributes data-path and data-value.
std::string data_of(const Place& place);

// <span>s that show a value, with its attributes; null is a dash.
std::string figure(const Place& place, Unit unit);
// <span> that shows a text, with its attributes; null and an empty text are a dash.
std::string words(const Place& place);
std::string derived(std::string_view name, double value, Unit unit);
extern const char* const kNoFigure;  // the dash

// Settings as a reader says them: "queue 500, verify false"; nothing for none.
std::string settings_text(const Json& settings);

}  // namespace shardswarm::bench
