#include "scheduler/rarity.h"

#include <cassert>
#include <utility>

namespace shardswarm {

std::uint32_t& RarityOrder::begin_of(std::uint32_t holders) {
  while (begin_.size() <= holders) begin_.push_back(static_cast<std::uint32_t>(order_.size()));
  return begin_[holders];
}

void RarityOrder::swap(std::uint32_t a, std::uint32_t b) {
  std::swap(order_[a], order_[b]);
  place_[order_[a].value] = a;
  place_[order_[b].value] = b;
}

void RarityOrder::insert(PieceIndex piece, std::uint32_t holders) {
  assert(!contains(piece));
  begin_of(holders + 1);
  place_[piece.value] = static_cast<std::uint32_t>(order_.size());
  order_.push_back(piece);
  // From the end into its class: each commoner class gives up its first place.
  std::uint32_t at = place_[piece.value];
  for (std::size_t h = begin_.size() - 1; h > holders; --h) {
    swap(at, begin_[h]);
    at = begin_[h]++;
  }
  const std::uint32_t first = begin_[holders];
  swap(at, first + static_cast<std::uint32_t>(random_() % (at - first + 1)));
}

void RarityOrder::erase(PieceIndex piece, std::uint32_t holders) {
  assert(contains(piece));
  begin_of(holders + 1);
  std::uint32_t at = place_[piece.value];
  for (std::size_t h = holders + 1; h < begin_.size(); ++h) {
    const std::uint32_t last = --begin_[h];
    swap(at, last);
    at = last;
  }
  const auto end = static_cast<std::uint32_t>(order_.size()) - 1;
  swap(at, end);
  order_.pop_back();
  place_[piece.value] = kAbsent;
}

void RarityOrder::one_more(PieceIndex piece, std::uint32_t holders) {
  assert(contains(piece));
  begin_of(holders + 2);
  const std::uint32_t at = --begin_[holders + 1];
  swap(place_[piece.value], at);
  // To a random place of its new class: HAVEs come in the order of the pieces, and would sort it.
  const std::uint32_t size = begin_[holders + 2] - at;
  swap(at, at + static_cast<std::uint32_t>(random_() % size));
}

void RarityOrder::one_less(PieceIndex piece, std::uint32_t holders) {
  assert(contains(piece) && holders > 0);
  begin_of(holders + 1);
  const std::uint32_t at = begin_[holders]++;
  swap(place_[piece.value], at);
  const std::uint32_t first = begin_[holders - 1];
  swap(at, first + static_cast<std::uint32_t>(random_() % (at - first + 1)));
}

}  // namespace shardswarm
