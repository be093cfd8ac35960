// The rules that read the tables of outline_words.h: what the words of a tensor's name say.
#pragma once

#include <cstddef>
#include <string_view>

#include "piece/outline.h"
#include "piece/outline_words.h"

namespace shardswarm {

// The rules look at this many words of a name. Real names have fewer, hostile ones thousands.
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

// Whether the words of a table's row stand in the name, whole and side by side; a '*' at the row's
// end stands for any further letters.
bool has_words(std::string_view name, std::string_view row);

// The role of a tensor outside all layers, by the words behind those that its name shares with its
// stack's. A projector is kOutput: it stands behind the tower whose output it projects.
Role role_of(std::string_view words);
// `both`: a token embedding is needed at both ends.
Side side_of(Role role, bool both);

// The outermost module that the words name; kModel when they name none.
Module module_of(std::string_view words);
// Whether numbers right below these words are no layers: those of an embedding, a head, a
// projector.
bool makes_no_stack(std::string_view words);
// Whether the name is that of a tensor that every MTP layer has, and no other.
bool marks_mtp_layer(std::string_view name);

}  // namespace shardswarm
