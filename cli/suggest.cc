#include "cli/suggest.h"

#include <algorithm>

namespace shardswarm::cli {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Rows of the table of distances between the beginnings of both: two before, before, this one.
  std::vector<std::size_t> older(b.size() + 1);
  std::vector<std::size_t> old(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    older = std::move(old);
    old = row;
    row.assign(b.size() + 1, i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = old[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({old[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  constexpr std::size_t kWordMax = 64;  // what is longer was not mistyped
  if (word.empty() || word.size() > kWordMax) return {};
  std::string nearest;
  std::size_t least = 0;
  for (const std::string& candidate : known) {
    const std::size_t bare = word.find_first_not_of('-');
    const bool begins =
        bare != std::string_view::npos && word.size() - bare >= 3 && candidate.starts_with(word);
    const std::size_t distance = begins ? 1 : edit_distance(word, candidate);
    if (distance > std::max<std::size_t>(1, candidate.size() / 3)) continue;
    if (nearest.empty() || distance < least) {
      nearest = candidate;
      least = distance;
    }
  }
  return nearest;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string nearest = suggestion(word, known);
  return nearest.empty() ? std::string() : ": did you mean '" + nearest + "'?";
}

}  // namespace shardswarm::cli
