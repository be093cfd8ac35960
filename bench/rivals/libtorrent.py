#!/usr/bin/python3
"""libtorrent (Debian's python3-libtorrent). The contract stands in adapter.py; why these settings,
in bench/README.md.

Every fetcher dials the source and all other fetchers, has unlimited upload slots, and uses TCP without
encryption; source and fetchers have the same settings:

    torrent            "v1": SHA-1 of each piece; "v2": a Merkle tree of SHA-256 for each file
    piece_bytes        length of a piece
    queue              requests of 16 KiB under way to a peer, at most
    hashing_threads    threads that verify pieces
    aio_threads        threads that read and write files
    disk               "mapped", "pwrite" or "unmapped" (libtorrent_node.disk_settings)
    send_buffer_bytes  up to which a connection's send buffer is filled
    queued_disk_bytes  received and waiting to be written, before reading from the network pauses
    super_seeding      at the source
"""

import importlib.machinery
import itertools
import os
import pathlib
import sys

import adapter

PORT = 7701
HERE = pathlib.Path(__file__).resolve().parent
KIB, MIB = 1 << 10, 1 << 20
# What the grid does not vary.
USUAL = {"hashing_threads": min(4, os.cpu_count()), "aio_threads": 2, "disk": "mapped",
         "send_buffer_bytes": 4 * MIB, "queued_disk_bytes": 64 * MIB, "super_seeding": False}
# The grid: what decides most, each value with each.
COARSE = {"torrent": ("v1", "v2"), "piece_bytes": (256 * KIB, MIB, 4 * MIB), "queue": (8, 64, 500)}
# Around the fastest, one at a time.
NEAR = {"torrent": ("v1", "v2"), "piece_bytes": (512 * KIB, 2 * MIB), "queue": (32, 200, 2000),
        "hashing_threads": (1, 2, 4), "aio_threads": (1, 4, 10), "disk": ("mapped", "pwrite", "unmapped"),
        "send_buffer_bytes": (500 * KIB, 4 * MIB, 16 * MIB),
        "queued_disk_bytes": (MIB, 16 * MIB, 256 * MIB), "super_seeding": (False, True)}


class Libtorrent(adapter.Rival):
    prepared_by = ("torrent", "piece_bytes")

    def grid(self, fetchers):
        return [{**dict(zip(COARSE, values)), **USUAL} for values in itertools.product(*COARSE.values())]

    def refine(self, best, fetchers):
        """A source that super-seeds waits to see each piece at a second peer: alone, one idles 12 s."""
        return [{**best, name: value} for name, values in NEAR.items() for value in values
                if value != best[name] and (fetchers > 1 or name != "super_seeding")]

    def version(self):
        import libtorrent_node
        return f"libtorrent {libtorrent_node.libtorrent.__version__} (python3-libtorrent)"

    def check(self):
        elsewhere = [entry for entry in sys.path if pathlib.Path(entry).resolve() != HERE]
        if importlib.machinery.PathFinder.find_spec("libtorrent", elsewhere) is None:
            return "not installed: python3-libtorrent"
        return None

    def prepare(self, options):
        import libtorrent_node
        libtorrent_node.make(options.dir.resolve(), options.out, options.settings["torrent"],
                             options.settings["piece_bytes"])

    def seed(self, options):
        import libtorrent_node as node
        flags = node.libtorrent.torrent_flags
        how = flags.seed_mode | flags.upload_mode
        if options.settings["super_seeding"]:
            how |= flags.super_seeding
        session, handle = self.add(options, options.dir, how)
        self.wait(session, lambda: session.listen_port() and handle.status().is_seeding)
        adapter.say("ready")
        self.wait(session, lambda: False)  # alerts must be taken off its queue

    def fetch(self, options, files):
        session, handle = self.add(options, options.out, 0, {file["path"] for file in files})
        self.wait(session, lambda: session.listen_port())
        adapter.say("ready")
        for address in {options.source, *options.peers} - {options.listen}:
            handle.connect_peer((address, PORT))
        fetched = {}  # (address, port of the connection): payload bytes

        def finished():
            for peer in handle.get_peer_info():
                fetched[peer.ip] = peer.total_download
            return handle.status().is_finished

        self.wait(session, finished)
        self.wait_for_disk(session)
        adapter.check_sizes(options.out, files)
        by_address = {}
        for (address, _), count in fetched.items():
            by_address[address] = by_address.get(address, 0) + count
        adapter.say("done", fetched_from=by_address, verified=True)
        self.wait(session, lambda: False)

    @staticmethod
    def add(options, directory, how, wanted=None):
        """Starts a session with the torrent, whose files lie in the directory, not in one below it."""
        import libtorrent_node as node
        info = node.libtorrent.torrent_info(str(options.prepared))
        paths = [info.files().file_path(index).split("/", 1)[-1] for index in range(info.num_files())]
        for index, path in enumerate(paths):
            info.rename_file(index, path)
        torrent = {"ti": info, "save_path": str(directory.resolve()), "flags": how}
        if wanted:
            if missing := wanted.difference(paths):
                raise adapter.Failed(f"the torrent has no {min(missing)}")
            torrent["file_priorities"] = [4 if path in wanted else 0 for path in paths]
        session = node.libtorrent.session({
            **node.settings_of(f"{options.listen}:{PORT}", options.settings),
            # Peers are told apart by their addresses, and their counters are read at the end.
            "outgoing_interfaces": options.listen, "close_redundant_connections": False})
        return session, session.add_torrent(torrent)

    @staticmethod
    def wait(session, satisfied):
        """Alerts wake it: asking every few milliseconds would take the processor from the transfer."""
        while not satisfied():
            session.wait_for_alert(200)
            session.pop_alerts()

    @staticmethod
    def wait_for_disk(session):
        """A piece counts as had once it is hashed, from memory: what waits to be written comes later."""
        import libtorrent_node as node
        waiting = True
        while waiting:
            session.post_session_stats()
            session.wait_for_alert(200)
            for alert in session.pop_alerts():
                if isinstance(alert, node.libtorrent.session_stats_alert):
                    waiting = alert.values["disk.queued_write_bytes"] > 0


if __name__ == "__main__":
    adapter.main(Libtorrent())
