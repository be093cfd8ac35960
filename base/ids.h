// Strong index types: a piece number is never taken for a file number, nor for a count of bytes.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace shardswarm {

template <class Tag, class Rep = std::uint32_t>
struct StrongIndex {
  using rep = Rep;
  Rep value = 0;

  constexpr StrongIndex() = default;
  constexpr explicit StrongIndex(Rep v) : value(v) {}
  friend constexpr auto operator<=>(StrongIndex, StrongIndex) = default;
  constexpr StrongIndex& operator++() {
    ++value;
    return *this;
  }
};

using PieceIndex = StrongIndex<struct PieceIndexTag>;    // within a model: files in root order
using FileIndex = StrongIndex<struct FileIndexTag>;      // within a model's root
using TensorIndex = StrongIndex<struct TensorIndexTag>;  // within one file, by offset

// A run of consecutive pieces, [first, first + count).
struct PieceRun {
  PieceIndex first;
  std::uint32_t count = 0;
  friend constexpr auto operator<=>(const PieceRun&, const PieceRun&) = default;
};

}  // namespace shardswarm

template <class Tag, class Rep>
struct std::hash<shardswarm::StrongIndex<Tag, Rep>> {
  std::size_t operator()(shardswarm::StrongIndex<Tag, Rep> i) const noexcept {
    return std::hash<Rep>{}(i.value);
  }
};
