"""The command tables of a built program, as `shardswarm --tables` prints them."""

import json
import subprocess

# Columns of `value` whose values are paths: shells complete them.
PATH_VALUES = {"DIR", "FILE"}


class Option:
    """An option: `names` ["-q", "--quiet"], `value` "" for a flag."""

    def __init__(self, table):
        self.names, self.value, self.text = table["names"], table["value"], table["text"]
        self.group, self.choices = table["group"], table["choices"]
        self.repeatable = table["repeatable"]

    @property
    def long_names(self):
        return [name[2:] for name in self.names if name.startswith("--")]

    @property
    def short_names(self):
        return [name[1:] for name in self.names if not name.startswith("--")]

    @property
    def takes_path(self):
        return self.value in PATH_VALUES


class Command:
    """A command: `name` "fetch" or "key new"; `options` do not contain those of all commands."""

    def __init__(self, table):
        self.name, self.summary, self.text = table["name"], table["summary"], table["text"]
        self.positionals, self.examples = table["positionals"], table["examples"]
        self.options = [Option(option) for option in table["options"]]

    @property
    def page(self):
        return "shardswarm-" + self.name.replace(" ", "-")

    @property
    def takes_path(self):
        return any(positional["path"] for positional in self.positionals)


class Tables:
    """All that the program takes, and its version "0.1.0"."""

    def __init__(self, program):
        tables = json.loads(_output(program, "--tables"))
        self.commands = [Command(command) for command in tables["commands"]]
        self.everywhere = [Option(option) for option in tables["globals"]]
        self.everywhere.append(Option({"names": ["-h", "--help"], "value": "", "choices": [],
                                       "text": "Print the help", "group": "", "repeatable": False}))
        self.version = _output(program, "--version").split("\n")[0].split()[1]


def _output(program, *arguments):
    return subprocess.run([program, *arguments], check=True, text=True, encoding="utf-8",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
