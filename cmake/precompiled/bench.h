// What most units of bench/ include, compiled once: cmake/Precompiled.cmake.
#pragma once

#include <nlohmann/json.hpp>
#include <sstream>

#include "cmake/precompiled/programs.h"
