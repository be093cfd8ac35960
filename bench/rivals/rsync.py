#!/usr/bin/python3
"""rsync from a daemon on the source, several at once. The contract stands in adapter.py."""

import os

import adapter

PORT = 7703
# Paths are absolute: the daemon's working directory is not the state's.
CONFIGURATION = """
use chroot = no
{user}
reverse lookup = no
max connections = 0
log file = {state}/rsyncd.log
lock file = {state}/rsyncd.lock
[model]
path = {state}/root
read only = yes
"""


class Rsync(adapter.Rival):
    programs = ("rsync",)
    # Without `verify` it still has rsync's own checksum of each file sent (xxh128).
    settings = ({"verify": False}, {"verify": True})

    def seed(self, options):
        adapter.link_root(options.state, options.dir)
        configuration = options.state / "rsyncd.conf"
        configuration.write_text(CONFIGURATION.format(
            user="uid = root\ngid = root" if os.geteuid() == 0 else "", state=options.state.resolve()),
            encoding="utf-8")
        child = adapter.start([adapter.find("rsync"), "--daemon", "--no-detach", f"--port={PORT}",
                               f"--address={options.listen}", f"--config={configuration}"])
        adapter.wait_until_listening(child, options.listen, PORT)
        adapter.say("ready")

    def fetch(self, options, files):
        # A connection is one core at the source and one here, so there are as many as cores.
        commands = []
        for number, mine in enumerate(adapter.spread(files, os.cpu_count())):
            list_file = options.state / f"rsync-{number}.list"
            list_file.write_bytes(b"\0".join(os.fsencode(file["path"]) for file in mine))
            commands.append([adapter.find("rsync"), "--from0", f"--files-from={list_file}",
                             "--whole-file", "--inplace", "--no-compress",
                             f"rsync://{options.source}:{PORT}/model/", options.out])
        adapter.copy(options, files, commands)


if __name__ == "__main__":
    adapter.main(Rsync())
