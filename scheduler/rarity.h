// Open pieces ordered by how many peers hold them. Not thread-safe.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "piece/ids.h"

namespace shardswarm {

// One array of pieces, grouped by rarity class: a piece moves to the neighbouring class by one
// swap with that class's edge, so that a HAVE costs O(1) however many pieces are open. Within a
// class the order is random, so that no two nodes ask for the same pieces first.
class RarityOrder {
 public:
  RarityOrder(std::uint32_t pieces, std::uint64_t seed) : place_(pieces, kAbsent), random_(seed) {}

  bool contains(PieceIndex piece) const { return place_[piece.value] != kAbsent; }
  std::size_t size() const { return order_.size(); }
  // Rarest first.
  PieceIndex operator[](std::size_t i) const { return order_[i]; }

  // REQUIRES: !contains(piece).
  void insert(PieceIndex piece, std::uint32_t holders);
  // REQUIRES: contains(piece), with `holders` as last given; here and below.
  void erase(PieceIndex piece, std::uint32_t holders);
  void one_more(PieceIndex piece, std::uint32_t holders);
  void one_less(PieceIndex piece, std::uint32_t holders);

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};

  void swap(std::uint32_t a, std::uint32_t b);
  // Where class `holders` begins; classes are made as they are needed.
  std::uint32_t& begin_of(std::uint32_t holders);

  std::vector<PieceIndex> order_;
  std::vector<std::uint32_t> place_;  // by piece
  std::vector<std::uint32_t> begin_;  // by class; class h is [begin_[h], begin_[h + 1])
  std::mt19937_64 random_;
};

}  // namespace shardswarm
