// "did you mean": the known word that a mistyped one is nearest to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shardswarm::cli {

// How many characters must be inserted, removed, replaced, or swapped with their neighbour to make
// `b` of `a`.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, if it is near enough to be meant: it begins with `word`, or at most a
// third of its characters differ. Empty if none is.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

// ": did you mean 'seed'?", or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace shardswarm::cli
