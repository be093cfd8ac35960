#include "tools/model_size.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardswarm {
namespace {

constexpr std::uint64_t kHiddenStep = 128;
constexpr std::uint64_t kHiddenMax = 1 << 17;
// Below a hidden size of 128 the steps are these: with a large vocabulary or many layers a small
// model has no room for more.
constexpr std::uint64_t kSmallHidden[] = {16, 32, 64};
constexpr std::uint64_t kIntermediateStep = 128;  // as real models have it
// Of the bytes asked for: a smaller step of the intermediate size is not tried then. Small models
// with many experts need a step of 1: in 16 MiB of 32 layers with 8 experts a step of 8 is 9 % of
// all.
constexpr double kNearEnough = 0.98;

std::uint64_t natural_intermediate(std::uint64_t hidden) { return hidden * 11 / 4; }

// A quarter of the heads, or the next smaller number that divides them: each key and value head
// serves as many query heads as any other.
std::uint64_t kv_heads_of(std::uint64_t heads) {
  std::uint64_t kv_heads = std::max<std::uint64_t>(1, heads / 4);
  while (heads % kv_heads != 0) --kv_heads;
  return kv_heads;
}

TransformerShape with_widths(TransformerShape shape, std::uint64_t hidden,
                             std::uint64_t intermediate) {
  shape.hidden = hidden;
  shape.intermediate = intermediate;
  shape.heads = std::max<std::uint64_t>(4, hidden / 128);
  shape.kv_heads = kv_heads_of(shape.heads);
  return shape;
}

std::uint64_t bytes_of(const TransformerShape& shape, MakeModel make) {
  return tensor_bytes(make(shape));
}

// The largest `value` from 1 to `most` for which fits(value) holds; 0 if it does not hold for 1.
// REQUIRES: it holds for everything below a value for which it holds.
template <class Fits>
std::uint64_t largest(std::uint64_t most, Fits fits) {
  std::uint64_t good = 0;
  std::uint64_t bad = most + 1;
  while (bad - good > 1) {
    const std::uint64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

// The shape of this hidden size that is nearest below `bytes`, or the smallest if none is below.
// Matrices have the intermediate size as one of their sides, so that the bytes grow evenly with it;
// scales of 128 x 128 blocks come in steps of 128, and are never more than evenly.
TransformerShape filled(const TransformerShape& shape, std::uint64_t hidden, std::uint64_t bytes,
                        MakeModel make) {
  const auto at = [&](std::uint64_t size) { return with_widths(shape, hidden, size); };
  const std::uint64_t smallest = bytes_of(at(1), make);
  if (smallest > bytes) return at(1);
  constexpr std::uint64_t kBlock = 128;
  const std::uint64_t block = bytes_of(at(1 + kBlock), make) - smallest;
  const std::uint64_t most = std::min(64 * hidden, 1 + (bytes - smallest) * kBlock / block);
  for (std::uint64_t step = kIntermediateStep; step > 1; step /= 2) {
    const std::uint64_t size = most / step * step;
    if (size == 0) continue;
    const std::uint64_t has = smallest + (size - 1) * block / kBlock;
    if (static_cast<double>(has) >= kNearEnough * static_cast<double>(bytes)) return at(size);
  }
  return at(most);
}

}  // namespace

Result<TransformerShape> shape_of_size(TransformerShape shape, std::uint64_t bytes,
                                       MakeModel make) {
  const auto natural = [&](std::uint64_t hidden) {
    return bytes_of(with_widths(shape, hidden, natural_intermediate(hidden)), make);
  };
  const std::uint64_t steps = largest(kHiddenMax / kHiddenStep, [&](std::uint64_t count) {
    return natural(count * kHiddenStep) <= bytes;
  });
  // The next hidden size may be nearer, with a smaller intermediate size than is natural.
  std::uint64_t hidden = steps * kHiddenStep;
  const std::uint64_t next = hidden + kHiddenStep;
  const auto over = [&](std::uint64_t size) {
    return static_cast<double>(natural(size)) / static_cast<double>(bytes);
  };
  if (hidden == 0 || over(next) * over(hidden) < 1) hidden = next;
  TransformerShape found = filled(shape, hidden, bytes, make);
  for (auto small = std::rbegin(kSmallHidden);
       small != std::rend(kSmallHidden) && bytes_of(found, make) > bytes; ++small) {
    found = filled(shape, *small, bytes, make);
  }
  const std::uint64_t least = bytes_of(found, make);
  if (least > bytes) {
    return fail(Errc::kUsage,
                fmt::format("no model of {} layers with a vocabulary of {} has {} bytes: the "
                            "smallest has {}; ask for that, or for fewer layers or a smaller "
                            "vocabulary",
                            shape.layers, shape.vocabulary, bytes, least));
  }
  return found;
}

}  // namespace shardswarm
