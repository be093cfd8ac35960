#include "piece/outline_roles.h"

#include <algorithm>

namespace shardswarm {
namespace {

// Whether the name goes on with these words. Both begin at a word.
bool starts_with_words(std::string_view name, std::string_view row) {
  if (row.ends_with('*')) return name.starts_with(row.substr(0, row.size() - 1));
  return name.starts_with(row) && (name.size() == row.size() || name[row.size()] == '.');
}

}  // namespace

std::string_view first_word(std::string_view name) { return name.substr(0, name.find('.')); }

std::string_view after_words(std::string_view name, std::size_t words) {
  for (; words > 0; --words) {
    name.remove_prefix(std::min(first_word(name).size() + 1, name.size()));
  }
  return name;
}

std::size_t common_words(std::string_view a, std::string_view b) {
  std::size_t words = 0;
  while (words < kWordsMax && !a.empty() && !b.empty() && first_word(a) == first_word(b)) {
    ++words;
    a = after_words(a, 1);
    b = after_words(b, 1);
  }
  return words;
}

bool has_words(std::string_view name, std::string_view row) {
  return any_word(name, [&](std::string_view word) {
    const auto at = static_cast<std::size_t>(word.data() - name.data());
    return starts_with_words(name.substr(at), row);
  });
}

Role role_of(std::string_view words) {
  // The steps of a projector have norms and embeddings of their own.
  if (module_of(words) == Module::kProjector) return Role::kOutput;
  for (const RoleRow& row : role_rows()) {
    if (has_words(words, row.words)) return row.role;
  }
  return Role::kUnknown;
}

Side side_of(Role role, bool both) {
  switch (role) {
    case Role::kTokenEmbedding:
      return both ? Side::kBoth : Side::kInput;
    case Role::kInput:
      return Side::kInput;
    case Role::kHead:
    case Role::kHeadPart:
    case Role::kOutput:
      return Side::kOutput;
    case Role::kUnknown:
      break;
  }
  return Side::kEverybody;
}

Module module_of(std::string_view words) {
  Module module = Module::kModel;
  any_word(words, [&](std::string_view word) {
    const auto at = static_cast<std::size_t>(word.data() - words.data());
    const auto row = std::ranges::find_if(module_rows(), [&](const ModuleRow& each) {
      return starts_with_words(words.substr(at), each.words);
    });
    if (row != module_rows().end()) module = row->module;
    return module != Module::kModel;
  });
  return module;
}

bool makes_no_stack(std::string_view words) {
  const bool projector =
      any_word(words, [&](std::string_view word) { return module_of(word) == Module::kProjector; });
  if (projector) return true;
  const std::size_t dot = words.rfind('.');
  return role_of(dot == std::string_view::npos ? words : words.substr(dot + 1)) != Role::kUnknown;
}

bool marks_mtp_layer(std::string_view name) {
  return std::ranges::any_of(mtp_marks(), [&](std::string_view mark) {
    // Most names have no such letters at all.
    return name.find(mark) != std::string_view::npos && has_words(name, mark);
  });
}

}  // namespace shardswarm
