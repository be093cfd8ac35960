// Open pieces in the order in which they are asked for. Not thread-safe.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace shardswarm {

// How much a piece is needed elsewhere, as a small number: the lower, the rarer for those who want
// it. `holders` of the connected peers have it, `wanters` of them still want it. A piece that ten
// wait for and three hold comes before one that nobody else wants and one holds: the ten serve each
// other as soon as they have it. Equal steps of the ratio's logarithm, four to an octave.
constexpr std::uint32_t rarity_class(std::uint32_t holders, std::uint32_t wanters) {
  const std::uint64_t ratio = (std::uint64_t{holders} << 16U) / (wanters + 1);
  if (ratio < 4) return 0;
  const auto width = static_cast<std::uint32_t>(std::bit_width(ratio));
  return 4 * width + static_cast<std::uint32_t>((ratio >> (width - 3)) & 3U);
}
inline constexpr std::uint32_t kRarityClasses = 4 * 49;  // holders are 32 bits, shifted by 16

// Pieces grouped by class, in random order within one, so that no two nodes ask for the same pieces
// first. Each change costs O(1) however many pieces are open.
class UrgencyOrder {
 public:
  UrgencyOrder(std::uint32_t pieces, std::uint64_t seed) : place_(pieces), random_(seed) {}

  bool contains(PieceIndex piece) const { return place_[piece.value].level != kAbsent; }
  std::size_t size() const { return size_; }
  // REQUIRES: !contains(piece).
  void insert(PieceIndex piece, std::uint32_t level);
  // REQUIRES: contains(piece), here and below.
  void erase(PieceIndex piece);
  void move(PieceIndex piece, std::uint32_t level);
  bool before(PieceIndex a, PieceIndex b) const {
    const Place& one = place_[a.value];
    const Place& other = place_[b.value];
    return std::pair(one.level, one.at) < std::pair(other.level, other.at);
  }

  // The first piece for which `wanted` holds, lowest class first.
  template <class F>
  std::optional<PieceIndex> find(F&& wanted) const {
    for (const auto& pieces : levels_) {
      for (const PieceIndex piece : pieces) {
        if (wanted(piece)) return piece;
      }
    }
    return std::nullopt;
  }

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};
  struct Place {
    std::uint32_t level = kAbsent;
    std::uint32_t at = 0;
  };

  std::vector<std::vector<PieceIndex>> levels_;
  std::vector<Place> place_;  // by piece
  std::size_t size_ = 0;
  std::mt19937_64 random_;
};

}  // namespace shardswarm
