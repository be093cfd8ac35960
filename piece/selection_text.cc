#include "piece/selection_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/text.h"
#include "piece/presets.h"
#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

// A flag of the command line and its member in JSON, with the values that it has in a selection as
// text, and how one more is added. In the order in which they are written.
struct Field {
  std::string_view flag;
  std::string_view member;
  bool quoted;  // on the command line
  std::vector<std::string> (*values)(const Selection&);
  Result<void> (*add)(Selection&, std::string_view);
  bool once = false;  // can be given once, and is a string in JSON, not a list
};

struct Policy {
  std::string_view name;
  SharedTensors shared;
};
constexpr std::array<Policy, 3> kPolicies = {{{"edges", SharedTensors::kEdges},
                                              {"towers", SharedTensors::kTowers},
                                              {"all", SharedTensors::kAll}}};

template <class T>
Result<void> append(std::vector<T>& list, Result<T> value) {
  if (!value) return std::unexpected(value.error());
  list.push_back(std::move(*value));
  return {};
}

Result<void> append_glob(std::vector<std::string>& list, std::string_view glob) {
  list.emplace_back(glob);
  return {};
}

Result<void> set_shared(Selection& selection, std::string_view value) {
  const auto policy = std::ranges::find(kPolicies, value, &Policy::name);
  if (policy == kPolicies.end()) {
    return usage("'" + std::string(value) +
                 "' is not a policy for shared tensors: write edges, towers or all");
  }
  selection.shared = policy->shared;
  return {};
}

std::vector<std::string> shared_text(const Selection& selection) {
  if (selection.shared == SharedTensors::kEdges) return {};
  return {std::string(std::ranges::find(kPolicies, selection.shared, &Policy::shared)->name)};
}

Result<void> set_engine(Selection& selection, std::string_view value) {
  const auto engine = parse_engine(value);
  if (!engine) return std::unexpected(engine.error());
  selection.preset.engine = *engine;
  return {};
}

std::vector<std::string> engine_text(const Selection& selection) {
  if (!selection.preset.engine) return {};
  return {std::string(engine_name(*selection.preset.engine))};
}

Result<void> set_weights(Selection& selection, std::string_view value) {
  auto weights = parse_weights(value);
  if (!weights) return std::unexpected(weights.error());
  selection.preset.weights = std::move(*weights);
  return {};
}

std::vector<std::string> weights_text(const Selection& selection) {
  std::string text;
  for (const std::uint64_t weight : selection.preset.weights) {
    text += (text.empty() ? "" : ",") + std::to_string(weight);
  }
  return text.empty() ? std::vector<std::string>{} : std::vector<std::string>{text};
}

std::vector<std::string> rank_text(const Selection& selection) {
  const Preset& preset = selection.preset;
  if (preset.rank == 0 && preset.ranks == 1) return {};
  return {part_text(preset.rank, preset.ranks)};
}

template <class T, class F>
std::vector<std::string> texts(const std::vector<T>& list, F&& text) {
  std::vector<std::string> found;
  std::ranges::transform(list, std::back_inserter(found), text);
  return found;
}

template <class Range>
std::string text_of_range(const Range& range) {
  return range_text(range.first, range.last);
}

constexpr std::array<Field, 12> kFields = {{
    {"--layers", "layers", false,
     [](const Selection& s) { return texts(s.layers, text_of_range<LayerRange>); },
     [](Selection& s, std::string_view v) { return append(s.layers, parse_layer_range(v)); }},
    {"--stage", "stages", false,
     [](const Selection& s) {
       return texts(s.stages, [](const Stage& x) { return part_text(x.index, x.count); });
     },
     [](Selection& s, std::string_view v) { return append(s.stages, parse_stage(v)); }},
    {"--tensors", "tensors", true, [](const Selection& s) { return s.tensors; },
     [](Selection& s, std::string_view v) { return append_glob(s.tensors, v); }},
    {"--stack", "stacks", false, [](const Selection& s) { return s.stacks; },
     [](Selection& s, std::string_view v) { return append_glob(s.stacks, v); }},
    {"--experts", "experts", false,
     [](const Selection& s) { return texts(s.experts, text_of_range<ExpertRange>); },
     [](Selection& s, std::string_view v) { return append(s.experts, parse_expert_range(v)); }},
    {"--slice", "slices", true,
     [](const Selection& s) {
       return texts(s.slices,
                    [](const Slice& x) { return x.tensors + ":" + part_text(x.rank, x.count); });
     },
     [](Selection& s, std::string_view v) { return append(s.slices, parse_slice(v)); }},
    {"--exclude", "excludes", true, [](const Selection& s) { return s.excludes; },
     [](Selection& s, std::string_view v) { return append_glob(s.excludes, v); }},
    {"--files", "files", true, [](const Selection& s) { return s.files; },
     [](Selection& s, std::string_view v) { return append_glob(s.files, v); }},
    {"--shared", "shared", false, shared_text, set_shared, true},
    {"--for", "for", false, engine_text, set_engine, true},
    {"--rank", "rank", false, rank_text,
     [](Selection& s, std::string_view v) { return parse_rank(s.preset, v); }, true},
    {"--weights", "weights", false, weights_text, set_weights, true},
}};

const Field* field_of(std::string_view name, std::string_view Field::* by) {
  const auto it = std::ranges::find(kFields, name, by);
  return it == kFields.end() ? nullptr : &*it;
}

std::string all_of(std::string_view Field::* by) {
  std::string names;
  for (const Field& field : kFields) names += (names.empty() ? "" : " ") + std::string(field.*by);
  return names;
}

bool is_plain(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("._-/+:,@%").find(c) != std::string_view::npos;
  });
}

// Words of a line as a shell splits it: blanks, '...', "...", $'...' and backslashes; nothing is
// expanded. Lives for one call, on its caller's thread.
class Words {
 public:
  explicit Words(std::string_view text) : text_(text) {}

  Result<std::vector<std::string>> split() {
    std::vector<std::string> words;
    std::optional<std::string> word;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        if (word) words.push_back(std::move(*word));
        word.reset();
        continue;
      }
      if (!word) word.emplace();
      const bool good = c == '\''                                              ? single(*word)
                        : c == '"'                                             ? doubled(*word)
                        : c == '\\'                                            ? escaped(*word)
                        : c == '$' && at_ < text_.size() && text_[at_] == '\'' ? ansi(*word)
                                                                               : plain(*word, c);
      if (!good) {
        return usage("the quotes in '" + std::string(text_) + "' do not end: close them");
      }
    }
    if (word) words.push_back(std::move(*word));
    return words;
  }

 private:
  static bool plain(std::string& word, char c) {
    word += c;
    return true;
  }

  bool escaped(std::string& word) {
    if (at_ == text_.size()) return false;
    word += text_[at_++];
    return true;
  }

  bool single(std::string& word) {
    const std::size_t end = text_.find('\'', at_);
    if (end == std::string_view::npos) return false;
    word += text_.substr(at_, end - at_);
    at_ = end + 1;
    return true;
  }

  bool doubled(std::string& word) {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      const bool escape = c == '\\' && at_ < text_.size() &&
                          std::string_view("\"\\$`").find(text_[at_]) != std::string_view::npos;
      word += escape ? text_[at_++] : c;
    }
    return false;
  }

  bool ansi(std::string& word) {
    ++at_;  // the quote after the dollar
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\'') return true;
      if (c != '\\') {
        word += c;
      } else if (!ansi_escape(word)) {
        return false;
      }
    }
    return false;
  }

  bool ansi_escape(std::string& word) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    const std::size_t simple = std::string_view("ntr").find(c);
    if (c == 'x') {
      int value = 0;
      std::size_t digits = 0;
      for (; digits < 2 && at_ < text_.size() && hex(text_[at_]) >= 0; ++digits) {
        value = value * 16 + hex(text_[at_++]);
      }
      word += static_cast<char>(value);
      return digits > 0;
    }
    word += simple == std::string_view::npos ? c : "\n\t\r"[simple];
    return true;
  }

  static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

using Json = nlohmann::ordered_json;

Result<void> add_member(Selection& selection, const std::string& name, const Json& value) {
  const Field* field = field_of(name, &Field::member);
  if (!field) {
    return usage("a selection has no member '" + name + "': it has " + all_of(&Field::member));
  }
  if (field->once) {
    const auto* text = value.get_ptr<const std::string*>();
    if (!text) return usage("'" + name + "' of a selection is a string, as behind its flag");
    return field->add(selection, *text);
  }
  if (!value.is_array()) return usage("'" + name + "' of a selection is an array of strings");
  for (const Json& each : value) {
    const auto* text = each.get_ptr<const std::string*>();
    if (!text) return usage("'" + name + "' of a selection is an array of strings");
    if (auto done = field->add(selection, *text); !done) return done;
  }
  return {};
}

std::unexpected<Error> unknown_flag(std::string_view word) {
  return usage("'" + std::string(word) + "' is not a flag of a selection: it has " +
               all_of(&Field::flag));
}

}  // namespace

Result<void> add_to_selection(Selection& selection, std::string_view flag, std::string_view value) {
  const Field* field = field_of(flag, &Field::flag);
  if (!field) return unknown_flag(flag);
  return field->add(selection, value);
}

std::string describe(const Selection& selection) {
  std::string text;
  for (const Field& field : kFields) {
    for (const std::string& value : field.values(selection)) {
      if (!text.empty()) text += ' ';
      text += std::string(field.flag) + ' ';
      text += field.quoted || !is_plain(value) ? shell_quoted(value) : value;
    }
  }
  return text.empty() ? "everything" : text;
}

Result<Selection> parse_selection(std::string_view text) {
  const auto words = Words(text).split();
  if (!words) return std::unexpected(words.error());
  Selection selection;
  if (words->size() == 1 && words->front() == "everything") return selection;
  std::set<std::string_view> seen;  // of those that can be given once
  for (std::size_t i = 0; i < words->size(); ++i) {
    const std::string& word = (*words)[i];
    const std::size_t equals = word.find('=');
    const Field* field = field_of(word.substr(0, equals), &Field::flag);
    if (!field) {
      return unknown_flag(word);
    }
    if (equals == std::string::npos && i + 1 == words->size()) {
      return usage(word + " needs a value behind it");
    }
    if (field->once && !seen.insert(field->flag).second) {
      return usage(std::string(field->flag) + " is there twice: leave one");
    }
    const std::string& value = equals == std::string::npos ? (*words)[++i] : word;
    const std::size_t from = equals == std::string::npos ? 0 : equals + 1;
    const auto done = field->add(selection, std::string_view(value).substr(from));
    if (!done) return std::unexpected(done.error());
  }
  return selection;
}

std::string selection_json(const Selection& selection) {
  Json object = Json::object();
  for (const Field& field : kFields) {
    const std::vector<std::string> values = field.values(selection);
    if (values.empty()) continue;
    Json& member = object[std::string(field.member)];
    if (field.once) {
      member = values.front();
    } else {
      member = values;
    }
  }
  // Strict dumping throws for globs that are no UTF-8: JSON cannot hold them.
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Selection> parse_selection_json(std::string_view json) {
  std::set<std::string> seen;
  std::optional<std::string> repeated;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth == 1 && event == Json::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!seen.insert(name).second) repeated = name;
    }
    return true;
  };
  const Json object = Json::parse(json, watch, /*allow_exceptions=*/false);
  if (object.is_discarded())
    return usage("the selection is not JSON: write {\"layers\":[\"8-15\"]}");
  if (!object.is_object()) return usage("the selection is not a JSON object: {} is everything");
  if (repeated) return usage("the selection has '" + *repeated + "' twice: leave one");
  Selection selection;
  for (const auto& [name, value] : object.items()) {
    const auto done = add_member(selection, name, value);
    if (!done) return std::unexpected(done.error());
  }
  return selection;
}

}  // namespace shardswarm
