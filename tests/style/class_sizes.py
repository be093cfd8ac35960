"""How large the classes of the product are: methods, data members, and .cc files that define them.

    /usr/bin/python3 tests/style/class_sizes.py [ROOM...]      a table, the largest first
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ("base", "piece", "wire", "scheduler", "storage", "swarm", "identity", "transport", "node", "cli",
         "tools", "bench/lan")


def plain(text):
    """Without comments, strings, preprocessor lines and attributes."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r'R"\((.*?)\)"|"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])+\'', '""', text, flags=re.S)
    text = re.sub(r"^\s*#.*(\\\n.*)*", "", text, flags=re.M)
    return re.sub(r"\[\[\w+\]\]", "", text)


def closing(text, at):
    """The place behind the brace that closes the one at `at`."""
    depth = 0
    for place in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    return len(text)


def declarations(body):
    """What stands in a class, each with the bodies of functions and classes cut out."""
    start = at = 0
    while at < len(body):
        if body[at] == ";":
            yield body[start:at]
            start = at = at + 1
        elif body[at] == "{":
            end = closing(body, at)
            head = body[start:at]
            # A body ends a function; an initializer or a nested class goes on to its semicolon.
            body = body[:at] + " " + body[end:]
            if "(" in head and not re.search(r"\b(class|struct|enum|union)\b", head) and \
                    not re.match(r"\s*;", body[at:]):
                yield head
                start = at
        else:
            at += 1


def count(name, body):
    methods = members = 0
    for text in declarations(body):
        text = re.sub(r"\b(public|private|protected)\s*:", " ", text)
        text = re.sub(r"\s+", " ", text).strip()
        text = re.sub(r"^template ?<[^>]*> ?", "", text)
        if not text or re.match(r"(using|friend|enum|class|struct|union|static_assert|static constexpr|"
                                r"static inline constexpr)\b", text):
            continue
        bare = re.sub(r"<[^<>]*(<[^<>]*(<[^<>]*>)?[^<>]*>)?[^<>]*>", "", text).split("=")[0]
        if "(" not in bare:
            members += 1
        elif not re.search(rf"(^|[~ ]){name} ?\(|\boperator\b", bare):
            methods += 1
    return methods, members


def classes(text):
    """(name, methods, members) of every class and struct, those within others too."""
    text = plain(text)
    for match in re.finditer(r"\b(?:class|struct)\s+([\w:]+)(?:\s+final)?(?:\s*:[^;{()]*)?\s*\{", text):
        body = text[match.end():closing(text, match.end() - 1) - 1]
        name = match.group(1)
        yield (name, *count(name.split("::")[-1], body))


def sizes(rooms=ROOMS):
    """(room, class, methods, members, files) of all classes of these rooms."""
    found = []
    for room in rooms:
        sources = {path: plain(path.read_text()) for path in sorted((ROOT / room).glob("*.cc"))}
        for path in sorted((ROOT / room).glob("*.h")) + list(sources):
            for name, methods, members in classes(path.read_text()):
                files = sum(bool(re.search(rf"^(?:[A-Za-z][^\n(=;]*\b)?{re.escape(name)}::~?\w+\(", text, flags=re.M))
                            for text in sources.values())
                found.append((room, name, methods, members, files))
    return sorted(found, key=lambda row: (-row[2] - row[3], row))


if __name__ == "__main__":
    print("| class | room | methods | data members | .cc files |\n|---|---|---|---|---|")
    for room, name, methods, members, files in sizes(sys.argv[1:] or ROOMS)[:40]:
        print(f"| `{name}` | {room} | {methods} | {members} | {files} |")
