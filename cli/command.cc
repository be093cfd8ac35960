#include "cli/command.h"

namespace shardswarm::cli {

std::string_view OptionSpec::name() const {
  const std::size_t comma = names.rfind(',');
  return std::string_view(names).substr(comma == std::string::npos ? 0 : comma + 1);
}

Setter into(std::string& target) {
  return [&target](std::string_view value) -> Result<void> {
    target = value;
    return {};
  };
}

Setter into(std::optional<std::string>& target) {
  return [&target](std::string_view value) -> Result<void> {
    target = value;
    return {};
  };
}

Setter into(bool& target) {
  return [&target](std::string_view) -> Result<void> {
    target = true;
    return {};
  };
}

Setter into(std::vector<std::string>& list) {
  return [&list](std::string_view value) -> Result<void> {
    list.emplace_back(value);
    return {};
  };
}

Setter count(int& target) {
  return [&target](std::string_view) -> Result<void> {
    ++target;
    return {};
  };
}

}  // namespace shardswarm::cli
