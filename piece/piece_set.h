// A set of pieces of one model: a bitmap of fixed size with its count kept.
// Not thread-safe. 774,000 pieces (Llama-3.1-405B) take 97 KB.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace shardswarm {

class PieceSet {
 public:
  PieceSet() = default;
  explicit PieceSet(std::uint32_t size);  // empty, able to hold pieces [0, size)
  static PieceSet full(std::uint32_t size);

  std::uint32_t size() const { return size_; }    // pieces it is able to hold
  std::uint32_t count() const { return count_; }  // pieces it holds
  bool empty() const { return count_ == 0; }
  bool complete() const { return count_ == size_; }

  // REQUIRES: piece < size(), here and below.
  bool contains(PieceIndex piece) const;
  bool insert(PieceIndex piece);  // whether it was absent
  bool erase(PieceIndex piece);   // whether it was present
  void insert(PieceRun run);
  void erase(PieceRun run);
  void clear();

  // REQUIRES: other.size() == size().
  PieceSet& operator|=(const PieceSet& other);
  PieceSet& operator&=(const PieceSet& other);
  PieceSet& operator-=(const PieceSet& other);
  bool intersects(const PieceSet& other) const;
  friend PieceSet operator|(PieceSet a, const PieceSet& b) { return a |= b; }
  friend PieceSet operator&(PieceSet a, const PieceSet& b) { return a &= b; }
  friend PieceSet operator-(PieceSet a, const PieceSet& b) { return a -= b; }
  friend bool operator==(const PieceSet&, const PieceSet&) = default;

  // The first piece >= from that it holds.
  std::optional<PieceIndex> next(PieceIndex from) const;
  // Calls f(PieceIndex) for each piece in ascending order; f may not change the set.
  template <class F>
  void for_each(F&& f) const {
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::uint64_t bits = words_[w]; bits != 0; bits &= bits - 1) {
        f(PieceIndex(static_cast<std::uint32_t>(w * 64) +
                     static_cast<std::uint32_t>(std::countr_zero(bits))));
      }
    }
  }
  // Maximal runs in ascending order.
  std::vector<PieceRun> runs() const;

  // The bitmap, 64 pieces a word, least significant bit first; bits past size() are zero.
  std::span<const std::uint64_t> words() const { return words_; }

 private:
  std::vector<std::uint64_t> words_;
  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace shardswarm
