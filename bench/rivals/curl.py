#!/usr/bin/python3
"""nginx to curl: all files from the source, in parallel. The contract stands in adapter.py."""

import os

import adapter
import nginx_seed

TRANSFERS = 16  # of one process at a time


def quoted(text):
    """As curl reads a string in its configuration."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


class Curl(adapter.Rival):
    programs = ("nginx", "curl")
    # One process, as people start it; as many as cores, for one uses one core.
    settings = tuple({"verify": verify, "processes": processes}
                     for verify in (False, True) for processes in ("one", "cores"))

    def seed(self, options):
        nginx_seed.seed(options)

    def fetch(self, options, files):
        processes = os.cpu_count() if options.settings["processes"] == "cores" else 1
        commands = []
        for number, mine in enumerate(adapter.spread(files, processes)):
            list_file = options.state / f"curl-{number}.conf"
            list_file.write_text("".join(
                f"url = {quoted(nginx_seed.url(options.source, file))}\n"
                f"output = {quoted(options.out / file['path'])}\n" for file in mine), encoding="utf-8")
            commands.append([adapter.find("curl"), "--disable", "--no-progress-meter", "--fail",
                             "--globoff", "--noproxy", "*", "--create-dirs", "--parallel",
                             "--parallel-immediate", "--parallel-max", TRANSFERS,
                             "--config", list_file])
        adapter.copy(options, files, commands)


if __name__ == "__main__":
    adapter.main(Curl())
