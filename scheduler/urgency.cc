#include "scheduler/urgency.h"

#include <cassert>
#include <utility>

namespace shardswarm {

void UrgencyOrder::insert(PieceIndex piece, std::uint32_t level) {
  assert(!contains(piece));
  if (levels_.size() <= level) levels_.resize(level + 1);
  auto& pieces = levels_[level];
  // To a random place: HAVEs come in the order of the pieces, and would sort them.
  const auto at = static_cast<std::uint32_t>(random_() % (pieces.size() + 1));
  pieces.push_back(piece);
  const auto last = static_cast<std::uint32_t>(pieces.size() - 1);
  std::swap(pieces[at], pieces[last]);
  place_[pieces[last].value] = {level, last};
  place_[piece.value] = {level, at};
  ++size_;
}

void UrgencyOrder::erase(PieceIndex piece) {
  assert(contains(piece));
  const Place place = std::exchange(place_[piece.value], {});
  auto& pieces = levels_[place.level];
  const PieceIndex last = pieces.back();
  pieces.pop_back();
  --size_;
  if (last == piece) return;
  pieces[place.at] = last;
  place_[last.value].at = place.at;
}

void UrgencyOrder::move(PieceIndex piece, std::uint32_t level) {
  if (place_[piece.value].level == level) return;
  erase(piece);
  insert(piece, level);
}

}  // namespace shardswarm
