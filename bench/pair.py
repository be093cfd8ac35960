#!/usr/bin/env python3
"""One seed, one fetcher, loopback, tmpfs to tmpfs, verified: beside libtorrent in the same run.

    bench/pair.py [DIRECTORY OF THE PROGRAMS] [--size 2GiB] [--runs 5] [--key]

After a warm-up of each, runs alternate, so that what else the machine does hits both. Times are from
the start of the fetch until all is verified and written; CPU seconds are user and system time of each
process; private memory is anonymous resident memory (RssAnon), sampled every 20 ms. Only ratios
within one run mean anything: here even dd to tmpfs varies from run to run.
Needs python3-libtorrent, and Debian's python3 with it.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20


class Watched:
    """A child process whose private memory is sampled."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen([str(part) for part in command], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.peak = 0
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self):
        while self.process.poll() is None:
            try:
                with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
                    for line in status:
                        if line.startswith("RssAnon:"):
                            self.peak = max(self.peak, int(line.split()[1]) * 1024)
            except OSError:
                return
            time.sleep(0.02)

    def line(self):
        return self.process.stdout.readline().strip()

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def ours(programs, source, target, place, key):
    env = {**os.environ, "XDG_STATE_HOME": str(place / "state"), "XDG_CONFIG_HOME": str(place)}
    trust = ["--key", key] if key else []
    seed = Watched([programs / "shardswarm", "seed", source, *trust], env)
    ticket = seed.line()
    before = seed.cpu()
    fetch = Watched([programs / "shardswarm", "fetch", ticket, "--to", target, "--json", "--no-reuse",
                     "--linger", "forever", *trust], env)
    while True:
        event = json.loads(fetch.line())
        if event["event"] == "done":
            break
    result = dict(seconds=event["seconds"], fetch_cpu=fetch.cpu(), seed_cpu=seed.cpu() - before,
                  fetch_peak=max(fetch.peak, event["peak_private_bytes"]), seed_peak=seed.peak)
    fetch.stop()
    seed.stop()
    return result


def theirs(source, target, place, _):
    """The same with libtorrent: both sides are this file, run as another process."""
    torrent = place / "source.torrent"
    seed = Watched([sys.executable, __file__, "--libtorrent-seed", source, torrent])
    port = seed.line()
    before = seed.cpu()
    fetch = Watched([sys.executable, __file__, "--libtorrent-fetch", target, torrent, port])
    seconds = float(fetch.line())
    result = dict(seconds=seconds, fetch_cpu=fetch.cpu(), seed_cpu=seed.cpu() - before,
                  fetch_peak=fetch.peak, seed_peak=seed.peak)
    fetch.stop()
    seed.stop()
    return result


# --- libtorrent's side ---

def libtorrent_session():
    import libtorrent
    return libtorrent, libtorrent.session({
        "listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False,
        "enable_upnp": False, "enable_natpmp": False, "enable_incoming_utp": False,
        "enable_outgoing_utp": False, "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True, "alert_mask": 0x40 | 0x1,
        # What its own documentation names for fast local networks.
        "send_buffer_watermark": 16 * MIB, "send_buffer_low_watermark": MIB,
        "send_buffer_watermark_factor": 150, "max_out_request_queue": 4000,
        "max_allowed_in_request_queue": 8000, "aio_threads": 4, "hashing_threads": 2,
        "request_queue_time": 3, "max_queued_disk_bytes": 64 * MIB,
        "recv_socket_buffer_size": MIB, "send_socket_buffer_size": MIB})


def make_torrent(source, torrent):
    import libtorrent
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(source))
    made = libtorrent.create_torrent(files, MIB, flags=libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(made, str(source.parent))
    torrent.write_bytes(libtorrent.bencode(made.generate()))


def libtorrent_seed(source, torrent):
    libtorrent, session = libtorrent_session()
    handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent),
                                  "save_path": str(pathlib.Path(source).parent),
                                  "flags": libtorrent.torrent_flags.seed_mode
                                  | libtorrent.torrent_flags.upload_mode})
    while not handle.status().is_seeding or session.listen_port() == 0:
        time.sleep(0.01)
    print(session.listen_port(), flush=True)
    time.sleep(3600)


def libtorrent_fetch(target, torrent, port):
    libtorrent, session = libtorrent_session()
    info = libtorrent.torrent_info(torrent)
    began = time.monotonic()
    handle = session.add_torrent({"ti": info, "save_path": target})
    handle.connect_peer(("127.0.0.1", int(port)))
    while not handle.status().is_seeding:
        time.sleep(0.002)
    print(time.monotonic() - began, flush=True)
    time.sleep(3600)


# --- the table ---

def directory_bytes(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def check(source, target):
    for path in source.iterdir():
        if subprocess.run(["cmp", "-s", path, target / path.name], check=False).returncode != 0:
            raise SystemExit(f"{target / path.name} is not what was sent")


def report(name, runs, size):
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    peak = max(run["fetch_peak"] for run in runs)
    print(f"{name:<12} {size / middle['seconds'] / 1e9:5.2f} GB/s  {middle['seconds']:5.2f} s  "
          f"CPU fetch {middle['fetch_cpu']:5.2f} s, seed {middle['seed_cpu']:5.2f} s  "
          f"private memory fetch {peak / MIB:6.1f} MiB, "
          f"seed {max(run['seed_peak'] for run in runs) / MIB:6.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin", nargs="?", default="build/bin", type=pathlib.Path)
    parser.add_argument("--size", default="2GiB")
    parser.add_argument("--runs", default=5, type=int)
    parser.add_argument("--key", action="store_true", help="our side under TLS")
    parser.add_argument("--only-ours", action="store_true")
    arguments = parser.parse_args()
    programs = arguments.bin.resolve()
    place = pathlib.Path(tempfile.mkdtemp(prefix="shardswarm-pair-", dir="/dev/shm"))
    try:
        key = None
        if arguments.key:
            key = place / "cluster.key"
            subprocess.run([programs / "shardswarm", "-q", "key", "new", key], check=True,
                           stdout=subprocess.DEVNULL)
        source = place / "source"
        subprocess.run([programs / "shardswarm-make-checkpoint", source, "--size", arguments.size, "--layers",
                        "32", "--vocabulary", "32000"], check=True, stdout=subprocess.DEVNULL)
        size = directory_bytes(source)
        sides = {"shardswarm": lambda to: ours(programs, source, to, place, key)}
        if not arguments.only_ours:
            make_torrent(source, place / "source.torrent")
            sides["libtorrent"] = lambda to: theirs(source, to, place, None)
        runs = {name: [] for name in sides}
        for number in range(arguments.runs + 1):  # the first is the warm-up
            for name, side in sides.items():
                target = place / "target"
                outcome = side(target)
                check(source, target if name == "shardswarm" else target / "source")
                shutil.rmtree(target)
                if number:
                    runs[name].append(outcome)
        print(f"{size / (1 << 30):.2f} GiB, {arguments.runs} runs, medians"
              f"{', TLS' if arguments.key else ''}")
        for name, outcomes in runs.items():
            report(name, outcomes, size)
        if "libtorrent" in runs:
            ratios = [b["seconds"] / a["seconds"] for a, b in zip(runs["shardswarm"], runs["libtorrent"])]
            print(f"speed        {statistics.median(ratios):.2f} x libtorrent's "
                  f"(runs: {', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    if sys.argv[1:2] == ["--libtorrent-seed"]:
        libtorrent_seed(*sys.argv[2:])
    elif sys.argv[1:2] == ["--libtorrent-fetch"]:
        libtorrent_fetch(*sys.argv[2:])
    else:
        main()
