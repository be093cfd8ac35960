"""What belongs beside the program is made of the program's own tables: the manual and completions say
what it takes, and the shells themselves are asked to complete. SHARDSWARM_BIN is the directory of the
program."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from skips import skip  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get("SHARDSWARM_BIN", ROOT / "build/bin")).resolve() / "shardswarm"
SECONDS_MAX = 60


def output(*command, **options):
    return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL, encoding="utf-8",
                          stdout=subprocess.PIPE, timeout=SECONDS_MAX, **options).stdout


def plain(page):
    """The words of a man page, as a reader sees them."""
    text = re.sub(r"\\f[BIR]", "", page)
    for escape, character in ((r"\-", "-"), (r"\(aq", "'"), (r"\(ga", "`"), (r"\&", "")):
        text = text.replace(escape, character)
    return text


def help_of(command):
    return output(PROGRAM, *command.split(), "--help-all")


class ShareTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory(prefix="shardswarm-share-")
        cls.addClassCleanup(cls.dir.cleanup)
        cls.made = pathlib.Path(cls.dir.name)
        output(ROOT / "packaging/share.py", PROGRAM, cls.made, "--prefix", "/usr", "--date", "2026-01-02")
        cls.share = cls.made / "share"
        # The overview lists each command at the beginning of an indented line, a summary behind it.
        cls.commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", output(PROGRAM, "--help"), re.M)


class ManualTest(ShareTest):
    def page(self, name):
        return plain((self.share / "man/man1" / f"{name}.1").read_text(encoding="utf-8"))

    def test_there_is_a_page_for_each_command(self):
        self.assertIn("fetch", self.commands)
        self.assertGreater(len(self.commands), 8)
        wanted = {"shardswarm.1", *(f"shardswarm-{name.replace(' ', '-')}.1" for name in self.commands)}
        self.assertEqual({path.name for path in (self.share / "man/man1").iterdir()}, wanted)
        overview = self.page("shardswarm")
        for command in self.commands:
            self.assertIn(f"shardswarm-{command.replace(' ', '-')}(1)", overview)

    def test_each_option_of_the_help_is_in_the_page(self):
        for command in self.commands:
            page = self.page("shardswarm-" + command.replace(" ", "-"))
            options = set(re.findall(r"^ +(?:-\w, ?)?(--[a-z][a-z-]+)", help_of(command), re.M))
            self.assertTrue(options - {"--help-all"}, command)
            for option in options - {"--help-all"}:
                self.assertRegex(page, rf"(?m)^(-\w, )?{option}( |$)", f"{option} of {command}")

    def test_the_exit_status_is_the_programs(self):
        codes = re.findall(r"kExit\w+ = (\d+);", (ROOT / "cli/exit_code.h").read_text())
        self.assertGreater(len(codes), 5)
        status = self.page("shardswarm").split(".SH EXIT STATUS")[1].split(".SH ENVIRONMENT")[0]
        listed = re.findall(r"^\.TP\n(\d+)", status, re.M)
        self.assertEqual(listed, [*codes, "130"])

    def test_man_formats_the_pages_without_a_warning(self):
        if not shutil.which("man"):
            skip(self, "man is not installed")
        for page in (self.share / "man/man1").iterdir():
            ended = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
                                   env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}, text=True,
                                   capture_output=True, check=True, timeout=SECONDS_MAX)
            self.assertEqual(ended.stderr, "", page.name)


class CompletionTest(ShareTest):
    """Each shell completes the same lines; the last word is what is completed."""

    def check(self, complete):
        (self.made / "llama").mkdir(exist_ok=True)
        self.assertEqual(complete("s"), {"seed"})
        self.assertEqual(complete("key n"), {"new"})
        self.assertEqual(complete("fetch --lay"), {"--layers", "--layout"})
        self.assertEqual(complete("fetch TICKET --layout c"), {"compact"})
        self.assertEqual(complete("fetch --io "), {"uring", "posix"})
        self.assertEqual(complete("seed --verb"), {"--verbose"})
        self.assertEqual(complete("seed ll"), {"llama"})
        self.assertEqual(complete("seed --key ll"), {"llama"})

    def test_bash(self):
        script = """
            source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shardswarm
            printf '%s\\n' "${COMPREPLY[@]}" """
        file = self.share / "bash-completion/completions/shardswarm"

        def complete(line):
            said = output("bash", "--norc", "-c", script, "bash", file, "shardswarm", *line.split(" "),
                          cwd=self.made)
            return set(said.split())

        self.check(complete)
        # A value that only the user knows: no options are shown instead.
        self.assertEqual(complete("seed --listen "), set())

    def test_fish(self):
        if not shutil.which("fish"):
            skip(self, "fish is not installed")
        file = self.share / "fish/vendor_completions.d/shardswarm.fish"

        def complete(line):
            said = output("fish", "--no-config", "-c",
                          f"source {file}; complete -C {'shardswarm ' + line!r}", cwd=self.made)
            return {entry.split("\t")[0].rstrip("/") for entry in said.splitlines()}

        self.check(complete)

    def test_zsh(self):
        if not shutil.which("zsh"):
            skip(self, "zsh is not installed")
        # compadd is what every completion ends in: it says what it would add, and adds nothing.
        script = r"""
            zmodload zsh/zpty
            zpty shell zsh -f -i
            zpty -w shell "PROMPT= RPROMPT=; setopt no_beep; cd ${(q)2}; fpath=(${(q)1} \$fpath)"
            zpty -w shell 'autoload -U compinit; compinit -u -D; zstyle ":completion:*" list-grouped no'
            zpty -w shell 'compadd() { local -a matches; builtin compadd -A matches "$@"; print -rn -- "${matches:+<<${(j:,:)matches}>>}"; return 1 }'
            zpty -w shell 'finish() { print -r -- "<""<END>>" }; zle -N finish; bindkey "^X" finish; print REA""DY'
            zpty -r shell said '*READY*'
            zpty -w -n shell "shardswarm $3"$'\t\x18'
            zpty -r shell said '*<<END>>*'
            print -r -- $said
            zpty -d shell"""
        functions = self.share / "zsh/vendor-completions"

        def complete(line):
            said = output("zsh", "-f", "-c", script, "zsh", functions, self.made, line)
            found = set()
            for entries in re.findall(r"<<([^>]*)>>", said):
                found |= {entry.rstrip("/") for entry in entries.split(",")}
            return found - {"END"}

        self.check(complete)


if __name__ == "__main__":
    unittest.main()
