#include "piece/piece_set.h"

#include <cassert>

namespace shardswarm {
namespace {

constexpr std::uint32_t kBits = 64;

constexpr std::uint64_t bit(std::uint32_t piece) { return std::uint64_t{1} << (piece % kBits); }

// Calls f(word index, mask) for each word that the run touches.
template <class F>
void for_words(PieceRun run, F&& f) {
  std::uint64_t at = run.first.value;
  const std::uint64_t end = at + run.count;
  while (at < end) {
    const std::uint64_t from = at % kBits;
    const std::uint64_t n = std::min<std::uint64_t>(kBits - from, end - at);
    const std::uint64_t ones = n == kBits ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
    f(static_cast<std::size_t>(at / kBits), ones << from);
    at += n;
  }
}

std::uint32_t ones(std::uint64_t word) { return static_cast<std::uint32_t>(std::popcount(word)); }

}  // namespace

PieceSet::PieceSet(std::uint32_t size)
    : words_((std::size_t{size} + kBits - 1) / kBits), size_(size) {}

PieceSet PieceSet::full(std::uint32_t size) {
  PieceSet set(size);
  set.insert(PieceRun{PieceIndex(0), size});
  return set;
}

bool PieceSet::contains(PieceIndex piece) const {
  assert(piece.value < size_);
  return (words_[piece.value / kBits] & bit(piece.value)) != 0;
}

bool PieceSet::insert(PieceIndex piece) {
  assert(piece.value < size_);
  std::uint64_t& word = words_[piece.value / kBits];
  if ((word & bit(piece.value)) != 0) return false;
  word |= bit(piece.value);
  ++count_;
  return true;
}

bool PieceSet::erase(PieceIndex piece) {
  assert(piece.value < size_);
  std::uint64_t& word = words_[piece.value / kBits];
  if ((word & bit(piece.value)) == 0) return false;
  word &= ~bit(piece.value);
  --count_;
  return true;
}

void PieceSet::insert(PieceRun run) {
  assert(std::uint64_t{run.first.value} + run.count <= size_);
  for_words(run, [this](std::size_t w, std::uint64_t mask) {
    count_ += ones(mask & ~words_[w]);
    words_[w] |= mask;
  });
}

void PieceSet::erase(PieceRun run) {
  assert(std::uint64_t{run.first.value} + run.count <= size_);
  for_words(run, [this](std::size_t w, std::uint64_t mask) {
    count_ -= ones(mask & words_[w]);
    words_[w] &= ~mask;
  });
}

void PieceSet::clear() {
  words_.assign(words_.size(), 0);
  count_ = 0;
}

PieceSet& PieceSet::operator|=(const PieceSet& other) {
  assert(other.size_ == size_);
  count_ = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) count_ += ones(words_[w] |= other.words_[w]);
  return *this;
}

PieceSet& PieceSet::operator&=(const PieceSet& other) {
  assert(other.size_ == size_);
  count_ = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) count_ += ones(words_[w] &= other.words_[w]);
  return *this;
}

PieceSet& PieceSet::operator-=(const PieceSet& other) {
  assert(other.size_ == size_);
  count_ = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) count_ += ones(words_[w] &= ~other.words_[w]);
  return *this;
}

bool PieceSet::intersects(const PieceSet& other) const {
  assert(other.size_ == size_);
  for (std::size_t w = 0; w < words_.size(); ++w) {
    if ((words_[w] & other.words_[w]) != 0) return true;
  }
  return false;
}

std::optional<PieceIndex> PieceSet::next(PieceIndex from) const {
  if (from.value >= size_) return std::nullopt;
  std::size_t w = from.value / kBits;
  std::uint64_t word = words_[w] & (~std::uint64_t{0} << (from.value % kBits));
  while (word == 0) {
    if (++w == words_.size()) return std::nullopt;
    word = words_[w];
  }
  return PieceIndex(static_cast<std::uint32_t>(w * kBits) +
                    static_cast<std::uint32_t>(std::countr_zero(word)));
}

std::vector<PieceRun> PieceSet::runs() const {
  std::vector<PieceRun> runs;
  for_each([&runs](PieceIndex piece) {
    if (!runs.empty() && runs.back().first.value + runs.back().count == piece.value) {
      ++runs.back().count;
    } else {
      runs.push_back({piece, 1});
    }
  });
  return runs;
}

}  // namespace shardswarm
