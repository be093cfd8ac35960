#include "bench/lan/report_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace shardswarm::bench {
namespace {

constexpr std::string_view kSpace = "\u202f";  // narrow, no break

template <std::size_t N>
std::string scaled(double value, double step, const std::array<std::string_view, N>& units) {
  std::size_t unit = 0;
  while (unit + 1 < units.size() && std::abs(value) >= 0.9995 * step) {
    value /= step;
    ++unit;
  }
  return fmt::format("{}{}{}", unit == 0 ? fmt::format("{:.0f}", value) : three_digits(value),
                     kSpace, units[unit]);
}

std::string span(const std::string& attributes, const std::string& text) {
  return fmt::format(R"(<span class="n" {}>{}</span>)", attributes, text);
}

}  // namespace

std::string three_digits(double value) {
  const double size = std::abs(value);
  return fmt::format("{:.{}f}", value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

const char* const kNoFigure = R"(<span class="none">–</span>)";

Place Place::find(const std::string& key) const {
  static const Json kNull;
  const bool has = json_->is_object() && json_->contains(key);
  return Place(has ? json_->at(key) : kNull, pointer_ / key);
}

std::vector<Place> Place::elements() const {
  const std::size_t count = json_->get_ref<const Json::array_t&>().size();
  std::vector<Place> found;
  found.reserve(count);
  for (std::size_t index = 0; index < count; ++index) {
    found.emplace_back(json_->at(index), pointer_ / index);
  }
  return found;
}

std::string escape(std::string_view text) {
  std::string safe;
  for (const char byte : text) {
    switch (byte) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += byte;
    }
  }
  return safe;
}

std::string seconds(double value) {
  const double size = std::abs(value);
  return fmt::format("{:.{}f}{}s", value, size < 99.995 ? 2 : size < 999.95 ? 1 : 0, kSpace);
}

std::string bytes(double value) {
  return scaled(value, 1024, std::array<std::string_view, 5>{"B", "KiB", "MiB", "GiB", "TiB"});
}

std::string bits_per_second(double value) {
  return scaled(value, 1000,
                std::array<std::string_view, 4>{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"});
}

std::string times(double value) { return fmt::format("{:.2f}×", value); }

std::string count(double value) { return fmt::format("{:.0f}", value); }

std::string percent(double value) { return fmt::format("{:.2f}{}%", 100 * value, kSpace); }

std::string milliseconds(double value) { return fmt::format("{:.2f}{}ms", 1000 * value, kSpace); }

std::string data_of(const Place& place) {
  return fmt::format(R"(data-path="{}" data-value="{}")", escape(place.pointer()),
                     escape(place.json().dump(-1, ' ', false, Json::error_handler_t::replace)));
}

std::string figure(const Place& place, Unit unit) {
  return place.null() ? kNoFigure : span(data_of(place), unit(place.number()));
}

std::string words(const Place& place) {
  if (place.null() || place.text().empty()) return kNoFigure;
  return fmt::format("<span {}>{}</span>", data_of(place), escape(place.text()));
}

std::string derived(std::string_view name, double value, Unit unit) {
  return span(fmt::format(R"(data-derived="{}" data-value="{}")", name, Json(value).dump()),
              unit(value));
}

namespace {

// "1 MiB" for what is a round number.
std::string round_bytes(double value) {
  std::string text = bytes(value);
  if (const auto at = text.find(".00"); at != std::string::npos) text.erase(at, 3);
  return text;
}

}  // namespace

std::string settings_text(const Json& settings) {
  std::string text;
  for (const auto& [key, value] : settings.items()) {
    std::string name = key;
    std::ranges::replace(name, '_', ' ');
    // A length in bytes reads better as what it is.
    const bool length = name.ends_with(" bytes") && value.is_number();
    if (length) name.resize(name.size() - 6);
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name,
                        length              ? round_bytes(value.get<double>())
                        : value.is_string() ? value.get<std::string>()
                        : value == true     ? "on"
                        : value == false    ? "off"
                                            : value.dump());
  }
  return text;
}

}  // namespace shardswarm::bench
