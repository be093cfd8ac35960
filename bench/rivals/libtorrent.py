#!/usr/bin/python3
"""libtorrent (Debian's python3-libtorrent). The contract stands in adapter.py.

Every fetcher dials the source and all other fetchers, has unlimited upload slots, and uses TCP without
encryption; source and fetchers have the same settings. Pieces are verified as they come (SHA-256, a
version 2 torrent). Its settings: "piece_bytes"; "queue", the requests of 16 KiB under way to a peer;
"super_seeding", at the source.
"""

import importlib.machinery
import pathlib
import sys

import adapter

PORT = 7701
HERE = pathlib.Path(__file__).resolve().parent


class Libtorrent(adapter.Rival):
    settings = tuple({"piece_bytes": piece, "queue": queue, "super_seeding": super_seeding}
                     for piece in (256 << 10, 1 << 20) for queue in (8, 64, 500, 2000)
                     for super_seeding in (False, True))

    def grid(self, fetchers):
        """A source that super-seeds waits to see each piece at a second peer: alone, one idles 12 s."""
        return [one for one in self.settings if fetchers > 1 or not one["super_seeding"]]

    def check(self):
        elsewhere = [entry for entry in sys.path if pathlib.Path(entry).resolve() != HERE]
        if importlib.machinery.PathFinder.find_spec("libtorrent", elsewhere) is None:
            return "not installed: python3-libtorrent"
        return None

    def prepare(self, options):
        import libtorrent_node
        libtorrent_node.make(options.dir.resolve(), options.out, options.settings["piece_bytes"])

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
            **node.settings_of(f"{options.listen}:{PORT}", options.settings["queue"]),
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
