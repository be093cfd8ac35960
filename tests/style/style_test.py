"""The rules that a program can judge. Each rule is tried on a text that breaks it, too."""

import pathlib
import re
import subprocess
import unittest

import class_sizes

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINES_MAX = 500
FUNCTION_LINES_MAX = 80
METHODS_MAX = 40
MEMBERS_MAX = 20
CLASS_FILES_MAX = 2
# Still to be taken apart. The list may only shrink.
TOO_LARGE = {"TargetStore", "DownloadScheduler::Impl", "scheduler:Peer", "bench/lan:Options"}

# What the files of a room may include of other rooms.
MAY_INCLUDE = {
    "base": {"base"},
    "piece": {"piece", "base", "proto"},
    "wire": {"wire", "piece", "base", "proto"},
    "scheduler": {"scheduler", "piece", "base"},
    "storage": {"storage", "piece", "base", "proto"},
    "swarm": {"swarm", "wire", "scheduler", "piece", "base"},
    "identity": {"identity", "piece", "base"},
    "transport": {"transport", "identity", "wire", "piece", "base"},
    "node": {"node", "swarm", "wire", "scheduler", "storage", "transport", "identity", "piece", "base"},
    "cli": {"cli"},
    "tools": {"tools", "piece", "base"},
}
# All that cli/ may include of other rooms.
PUBLIC_API = {"node/shardswarm.h", "node/directory.h", "identity/cluster_key.h", "base/error.h",
              "base/text.h"}
ROOMS = {*MAY_INCLUDE, "tests", "bench", "simulator"}

# No I/O, clock, thread or randomness of their own.
PURE = re.compile(r"^(piece|wire|scheduler|swarm)/|^base/(?!file|buffer_pool|address)|^transport/dial_race|^node/refusal_log"
                  r"|^tests/simulator/(?!main|scenario|\w+_test)")
IMPURE = {
    "a socket or file": r'#include <(sys/socket|sys/stat|fcntl|unistd|fstream|asio.*|netdb|arpa/.*)',
    "a thread": r"#include <(thread|mutex|condition_variable|future|atomic|shared_mutex)>",
    "a clock": r"(steady|system|high_resolution)_clock::now|\btime\(nullptr\)|gettimeofday",
    "randomness of its own": r"random_device|\brand\(|\bRAND_bytes\(",
}
BANNED = {
    "raw new": r"(?<![\w_])new (?!line)[A-Za-z_:<]+[\w:<>]*\s*[({\[]",
    "malloc": r"\b(malloc|calloc|realloc)\(",
    "system()": r"(?<![\w.>])(std::)?system\(",
    "unbounded string function": r"\b(strcpy|strcat|sprintf|gets)\(",
    "an absolute path of a machine": r'"/(home|work|Users)/',
    "TODO": r"\b(TODO|FIXME|XXX)\b",
    "using namespace std": r"using namespace std;",
}
SLEEP = r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\("
# Constructors that make_shared cannot reach.
RAW_NEW_ALLOWED = {"storage/source_store.cc", "storage/target_open.cc"}
URING = r"#include <liburing"


def tracked():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True,
                            capture_output=True, check=True).stdout.split("\n")
    return sorted({name for name in listed if name and (ROOT / name).is_file()})


def code_of(text):
    """Without comments and the insides of strings, lines kept."""
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    return "\n".join(re.sub(r"//.*", "", line) for line in text.split("\n"))


def include_faults(name, text):
    room = name.split("/")[0]
    for target in re.findall(r'^#include "([^"]+)"', text, flags=re.M):
        other = target.split("/")[0]
        if "/" not in target:
            yield f"{name}: include {target} from the project's root"
        elif room == "cli" and target in PUBLIC_API:
            continue
        elif room in MAY_INCLUDE and other not in MAY_INCLUDE[room]:
            yield f"{name}: {room} may not include {target}"


def purity_faults(name, text):
    if PURE.match(name):
        for what, pattern in IMPURE.items():
            if re.search(pattern, code_of(text)):
                yield f"{name}: {what} in the core"


def banned_faults(name, text):
    code = code_of(text)
    for what, pattern in BANNED.items():
        if what == "raw new" and name in RAW_NEW_ALLOWED:
            continue
        if re.search(pattern, text if what == "TODO" else code):
            yield f"{name}: {what}"
    if name.startswith("tests/") and re.search(SLEEP, code):
        yield f"{name}: a test that sleeps"
    if re.search(URING, text) and not name.startswith("storage/uring"):
        yield f"{name}: io_uring outside storage/uring*"


def skip_faults(name, text):
    """Why a test may be left out stands in one list, which says what CI permits."""
    if name.startswith("tests/e2e/") and name != "tests/e2e/skips.py":
        if re.search(r"\b(skipTest|SkipTest|unittest\.skip\w*|skipIf|skipUnless)\b", text):
            yield f"{name}: a skip that is not in skips.py"


def header_faults(name, text):
    if name.endswith(".h") and "#pragma once" not in text:
        yield f"{name}: no #pragma once"
    if name.endswith(".h") and not text.startswith("//"):
        yield f"{name}: a header begins by saying what it is for"


def length_faults(name, text):
    lines = text.count("\n")
    if lines > LINES_MAX:
        yield f"{name}: {lines} lines, more than {LINES_MAX}"


def function_faults(name, text):
    """By clang-format's shape: a body opens at a line's end and closes at the same indent."""
    opened = {}
    for number, line in enumerate(code_of(text).split("\n"), 1):
        indent = len(line) - len(line.lstrip())
        if re.match(r"^\s*(?!namespace|class|struct|enum|union|if|for|while|switch|do|else|TEST|\})"
                    r".*\) ?(const )?(noexcept )?(override )?(final )?\{$", line):
            opened[indent] = number
        elif line.strip() in ("}", "};") and indent in opened:
            length = number - opened.pop(indent)
            if length > FUNCTION_LINES_MAX:
                yield f"{name}:{number - length}: a function of {length} lines"


def mirror_faults(names):
    for name in names:
        match = re.match(r"tests/(\w+)/(\w+)_test\.cc$", name)
        if match and not match.group(1) in {*ROOMS, "simulator"}:  # which lives in tests/ itself
            yield f"{name}: there is no room {match.group(1)}"


def class_faults(sizes):
    for room, name, methods, members, files in sizes:
        if methods > METHODS_MAX or members > MEMBERS_MAX or files > CLASS_FILES_MAX:
            if not {name, f"{room}:{name}"} & TOO_LARGE:
                yield f"{room}: {name} has {methods} methods, {members} data members, {files} .cc files"


class StyleTest(unittest.TestCase):
    def each(self, check, ending=(".h", ".cc")):
        faults = []
        for name in tracked():
            if name.endswith(ending):
                faults += check(name, (ROOT / name).read_text(encoding="utf-8"))
        self.assertEqual(faults, [])

    def catches(self, check, name, text):
        self.assertTrue(list(check(name, text)), f"{check.__name__} misses {text!r} in {name}")

    def test_includes_point_one_way(self):
        self.catches(include_faults, "piece/a.h", '#include "wire/frame.h"\n')
        self.catches(include_faults, "scheduler/a.h", '#include "storage/store.h"\n')
        self.catches(include_faults, "cli/a.cc", '#include "storage/store.h"\n')
        self.catches(include_faults, "wire/a.cc", '#include "frame.h"\n')
        self.each(include_faults)

    def test_the_core_is_pure(self):
        self.catches(purity_faults, "wire/a.cc", "#include <sys/socket.h>\n")
        self.catches(purity_faults, "scheduler/a.cc", "auto t = std::chrono::steady_clock::now();\n")
        self.catches(purity_faults, "swarm/a.cc", "#include <thread>\n")
        self.catches(purity_faults, "tests/simulator/host.cc", "std::random_device entropy;\n")
        self.each(purity_faults)

    def test_nothing_banned_is_called(self):
        for text in ("auto* x = new Thing(1);", "char* p = (char*)malloc(3);", 'std::system("ls");',
                     "strcpy(a, b);", 'open("/home/me/x")', "// TODO later", "using namespace std;"):
            self.catches(banned_faults, "node/a.cc", text + "\n")
        self.catches(banned_faults, "tests/node/a.cc", "std::this_thread::sleep_for(1s);\n")
        self.catches(banned_faults, "node/a.cc", "#include <liburing.h>\n")
        self.each(banned_faults)

    def test_skips_stand_in_one_list(self):
        self.catches(skip_faults, "tests/e2e/test_a.py", 'self.skipTest("no root")\n')
        self.catches(skip_faults, "tests/e2e/test_a.py", "@unittest.skipIf(True, 'no')\n")
        self.each(skip_faults, (".py",))

    def test_headers_say_what_they_are_for(self):
        self.catches(header_faults, "a.h", "// What.\n")
        self.catches(header_faults, "a.h", "#pragma once\n")
        self.each(header_faults)

    def test_files_are_rooms_not_halls(self):
        self.catches(length_faults, "a.cc", "\n" * (LINES_MAX + 1))
        self.each(length_faults, (".h", ".cc", ".py", ".sh", ".md"))

    def test_functions_are_short(self):
        self.catches(function_faults, "a.cc", "void f(int a) {\n" + "  g();\n" * 90 + "}\n")
        self.each(function_faults)

    def test_classes_are_parts_not_wholes(self):
        text = "class A {\n public:\n  A();\n  int f() const { return g(1); }\n  static void h(int);\n" \
               "  std::function<void()> call;\n\n private:\n  struct B { int in_b = 0; };\n  int a_{3};\n};\n"
        self.assertEqual(list(class_sizes.classes(text)), [("A", 2, 2), ("B", 0, 1)])
        for row in (("a", "A", 41, 0, 1), ("a", "A", 0, 21, 0), ("a", "A", 0, 0, 3)):
            self.assertTrue(list(class_faults([row])))
        sizes = class_sizes.sizes()
        self.assertEqual(list(class_faults(sizes)), [])
        large = {f"{room}:{name}" for room, name, *_ in sizes if list(class_faults([("", "", *_)]))}
        self.assertEqual([n for n in TOO_LARGE if not any(x.endswith(n) for x in large)], [],
                         "no more too large: take them off the list")

    def test_tests_mirror_the_rooms(self):
        self.assertTrue(list(mirror_faults(["tests/kitchen/a_test.cc"])))
        self.assertEqual(list(mirror_faults(tracked())), [])

    def test_every_room_has_tests(self):
        names = tracked()
        for room in ("base", "piece", "wire", "scheduler", "swarm", "storage", "identity",
                     "transport", "node", "tools", "simulator"):
            self.assertTrue([n for n in names if n.startswith(f"tests/{room}/") and n.endswith("_test.cc")],
                            f"no tests of {room}")


if __name__ == "__main__":
    unittest.main()
