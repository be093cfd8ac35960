// What most units of cli/, tools/ and the simulator include, compiled once:
// cmake/Precompiled.cmake. A unit still includes what it uses, because it is compiled without this
// header, too.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>
