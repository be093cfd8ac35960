// A bitmap of pieces with an index of the words that are not empty: what is left of a large set,
// or common to two, is found without reading all of it. Not thread-safe.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"

namespace shardswarm {

class SparseSet {
 public:
  explicit SparseSet(std::uint32_t size)  // empty, able to hold pieces [0, size)
      : words_((size + 63) / 64), index_((words_.size() + 63) / 64) {}

  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }
  // REQUIRES: piece < size, here and below.
  bool contains(PieceIndex piece) const { return (words_[piece.value / 64] & bit(piece)) != 0; }
  bool insert(PieceIndex piece) {  // whether it was absent
    if (contains(piece)) return false;
    const std::size_t word = piece.value / 64;
    words_[word] |= bit(piece);
    index_[word / 64] |= std::uint64_t{1} << (word % 64);
    ++count_;
    return true;
  }
  bool erase(PieceIndex piece) {  // whether it was present
    if (!contains(piece)) return false;
    const std::size_t word = piece.value / 64;
    words_[word] &= ~bit(piece);
    if (words_[word] == 0) index_[word / 64] &= ~(std::uint64_t{1} << (word % 64));
    --count_;
    return true;
  }
  template <class F>
  void for_each(F&& f) const {
    for (std::size_t w = next_word(index_, 0); w < words_.size(); w = next_word(index_, w + 1)) {
      for (std::uint64_t bits = words_[w]; bits != 0; bits &= bits - 1) f(piece_at(w, bits));
    }
  }
  // The first piece >= from that both have.
  friend std::optional<PieceIndex> next_common(const SparseSet& a, const SparseSet& b,
                                               PieceIndex from) {
    const std::size_t first = from.value / 64;
    for (std::size_t i = first / 64; i < a.index_.size(); ++i) {
      std::uint64_t words = a.index_[i] & b.index_[i];
      if (i == first / 64) words &= ~std::uint64_t{0} << (first % 64);
      for (; words != 0; words &= words - 1) {
        const std::size_t w = i * 64 + static_cast<std::size_t>(std::countr_zero(words));
        std::uint64_t bits = a.words_[w] & b.words_[w];
        if (w == first) bits &= ~std::uint64_t{0} << (from.value % 64);
        if (bits != 0) return piece_at(w, bits);
      }
    }
    return std::nullopt;
  }

 private:
  static std::uint64_t bit(PieceIndex piece) { return std::uint64_t{1} << (piece.value % 64); }
  static PieceIndex piece_at(std::size_t word, std::uint64_t bits) {
    return PieceIndex(static_cast<std::uint32_t>(word * 64) +
                      static_cast<std::uint32_t>(std::countr_zero(bits)));
  }
  // The first word >= from that is not empty; past all words if there is none.
  static std::size_t next_word(const std::vector<std::uint64_t>& index, std::size_t from) {
    for (std::size_t i = from / 64; i < index.size(); ++i) {
      std::uint64_t words = index[i];
      if (i == from / 64) words &= ~std::uint64_t{0} << (from % 64);
      if (words != 0) return i * 64 + static_cast<std::size_t>(std::countr_zero(words));
    }
    return index.size() * 64;
  }

  std::vector<std::uint64_t> words_;  // 64 pieces each
  std::vector<std::uint64_t> index_;  // bit w of it: words_[w] is not empty
  std::size_t count_ = 0;
};

}  // namespace shardswarm
