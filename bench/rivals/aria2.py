#!/usr/bin/python3
"""nginx to aria2: all files from the source, each over several connections. The contract stands in
adapter.py."""

import os

import adapter
import nginx_seed

FILES = 16  # at a time


class Aria2(adapter.Rival):
    programs = ("nginx", "aria2c")
    settings = tuple({"connections": connections, "verify": verify}
                     for connections in (4, 16) for verify in (False, True))

    def seed(self, options):
        nginx_seed.seed(options)

    def fetch(self, options, files):
        # One aria2 uses one core, so there are as many as cores.
        connections = options.settings["connections"]
        commands = []
        for number, mine in enumerate(adapter.spread(files, os.cpu_count())):
            list_file = options.state / f"aria2-{number}.list"
            list_file.write_text("".join(
                f"{nginx_seed.url(options.source, file)}\n  out={file['path']}\n" for file in mine),
                encoding="utf-8")
            commands.append([
                adapter.find("aria2c"), "--no-conf", f"--input-file={list_file}", f"--dir={options.out}",
                f"--max-concurrent-downloads={FILES}", f"--split={connections}",
                f"--max-connection-per-server={connections}", "--min-split-size=4M",
                # Preallocation would write a tmpfs twice.
                "--file-allocation=none", "--disk-cache=64M", "--all-proxy=", "--no-proxy=*",
                "--allow-overwrite=true", "--auto-file-renaming=false", "--check-certificate=false",
                "--quiet=true", "--auto-save-interval=0"])
        adapter.copy(options, files, commands)


if __name__ == "__main__":
    adapter.main(Aria2())
