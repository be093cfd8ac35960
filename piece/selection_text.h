// Selections as text: as the command line takes them, and as JSON for programs. Both forms parse
// back to the same selection.
#pragma once

#include <string>
#include <string_view>

#include "piece/selection.h"

namespace shardswarm {

// Adds what stands behind one flag of the command line: "--layers", "8-15". Of a flag that can be
// given once (--shared, --for, --rank, --weights) the last one counts. kUsage for an unknown flag,
// and for a value that the flag does not take.
Result<void> add_to_selection(Selection& selection, std::string_view flag, std::string_view value);

// One line of flags, globs quoted as a shell wants them: "--layers 8-15 --slice '*.q_proj.*:0/2'";
// "everything" without any. Control characters stand as bash writes them, $'\x0a'.
std::string describe(const Selection& selection);
// What describe() made, or anybody wrote like it: quotes as in a shell, "--flag value" or
// "--flag=value"; nothing at all is everything. kUsage names the word that is not understood.
Result<Selection> parse_selection(std::string_view text);

// {"layers":["8-15"],"slices":["*.q_proj.*:0/2"],"shared":"all"}: an object whose members are the
// flags' names in the plural, each with an array of the flag's values. A flag that can be given
// once keeps its name and has one string: {"for":"exo","rank":"0/3","weights":"64,32,16"}. What is
// not set is absent, and {} is everything. Bytes of a glob that are not UTF-8 become U+FFFD: JSON
// cannot hold them (resolve() refuses such globs).
std::string selection_json(const Selection& selection);
// kUsage for unknown or repeated members and for values that a member does not take.
Result<Selection> parse_selection_json(std::string_view json);

}  // namespace shardswarm
