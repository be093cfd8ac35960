// What the words of tensor names say, by the families' habits: the tables of names behind the
// outline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "piece/outline.h"

namespace shardswarm {

// Words of a name that are looked at, here and below: real names have fewer, hostile ones
// thousands.
inline constexpr std::size_t kWordsMax = 16;

// Calls f(word) for each word of a dotted name until it answers true; whether one did.
template <class F>
bool any_word(std::string_view name, F&& f) {
  std::size_t from = 0;
  for (std::size_t words = 0; words < kWordsMax && from <= name.size(); ++words) {
    const std::size_t dot = name.find('.', from);
    const std::size_t end = dot == std::string_view::npos ? name.size() : dot;
    if (f(name.substr(from, end - from))) return true;
    from = end + 1;
  }
  return false;
}

std::string_view first_word(std::string_view name);
// The name without its first `words` words.
std::string_view after_words(std::string_view name, std::size_t words);
// Words that two names begin with alike, at most kWordsMax.
std::size_t common_words(std::string_view a, std::string_view b);

// What a tensor outside all layers is to the stack that it stands beside.
enum class Role : std::uint8_t { kTokenEmbedding, kInput, kHead, kFinalNorm, kUnknown };

// Of the words behind those that the name shares with its stack's. Projectors are heads: they stand
// behind the tower whose output they project.
Role role_of(std::string_view words);
// `tied`: the model has no head, so that its embedding is both.
Side side_of(Role role, bool tied);

// A tower of another sense than text, or what joins it to the text model ("visual",
// "mm_projector").
bool names_tower(std::string_view words);
// What joins a tower to the text model. Numbers below it are its steps, not layers.
bool names_projector(std::string_view words);
// Layers that predict further tokens, in a folder of their own (Qwen3-Next).
bool names_mtp(std::string_view words);
// A tensor that every MTP layer has, and no other (DeepSeek-V3, GLM).
bool marks_mtp_layer(std::string_view name);

}  // namespace shardswarm
