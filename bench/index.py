#!/usr/bin/env python3
"""Indexing and verifying a checkpoint, beside libtorrent's torrent creation in the same run.

    /usr/bin/python3 bench/index.py [DIRECTORY OF THE PROGRAMS] [--size 2GiB] [--runs 5]
                                    [--place /dev/shm] [--cold]

Ours is timed as a process from start to exit, manifest and ledger written. libtorrent is timed inside
its process from add_files to the torrent in a file: without Python's start and its import. Its grid is
the three kinds of torrent and the piece lengths that it picks itself, 256 KiB, 1 MiB and 4 MiB; it
hashes on all cores by default. `verify` and `verify --full` run on one core. Runs alternate; medians
are printed. --cold drops the page cache before each run (root), for a --place on a disk.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

KINDS = ("v1_only", "v2_only", "hybrid")
LENGTHS = (0, 1 << 18, 1 << 20, 1 << 22)  # 0: as libtorrent thinks best


def create_torrent(source, kind, length):
    """In a process of its own: prints the seconds."""
    import libtorrent
    began = time.monotonic()
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(source))
    flags = 0 if kind == "hybrid" else getattr(libtorrent.create_torrent, kind)
    torrent = libtorrent.create_torrent(files, length, flags=flags)
    libtorrent.set_piece_hashes(torrent, str(source.parent))
    with tempfile.TemporaryFile() as out:
        out.write(libtorrent.bencode(torrent.generate()))
    print(time.monotonic() - began)


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")


def timed(command, cpus=None):
    """Seconds of a process and CPU seconds that it took."""
    limit = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
    began = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], preexec_fn=limit,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status != 0:
        raise SystemExit(f"{command} failed with {status}")
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}


class Bench:
    def __init__(self, options, place):
        self.options, self.place = options, place
        self.source = place / "source"
        self.program = options.programs / "shardswarm"
        subprocess.run([options.programs / "shardswarm-make-checkpoint", self.source,
                        "--size", options.size], check=True, stdout=subprocess.DEVNULL)
        self.bytes = sum(path.stat().st_size for path in self.source.rglob("*") if path.is_file())
        self.fresh = 0

    def index(self):
        self.fresh += 1
        state = self.place / f"state{self.fresh}"
        return timed([self.program, "index", self.source, "--state", state])

    def verify(self, *flags):
        state = self.place / f"state{self.fresh}"
        return timed([self.program, "verify", self.source, "--state", state, *flags], {0})

    def libtorrent(self, kind, length):
        out = subprocess.run([sys.executable, __file__, "--create", kind, str(length), self.source],
                             check=True, capture_output=True, text=True).stdout
        return {"seconds": float(out)}

    def run(self):
        jobs = {"index": self.index, "verify": self.verify,
                "verify --full": lambda: self.verify("--full")}
        if not self.options.no_rival:
            jobs |= {f"libtorrent {kind}, pieces of {length or 'any length'}":
                     lambda kind=kind, length=length: self.libtorrent(kind, length)
                     for kind in KINDS for length in LENGTHS}
        runs = {name: [] for name in jobs}
        for turn in range(self.options.runs + 1):
            for name, job in jobs.items():
                if self.options.cold:
                    drop_caches()
                result = job()
                if turn > 0:  # the first warms up
                    runs[name].append(result)
        return {name: {key: statistics.median(run[key] for run in of) for key in of[0]}
                for name, of in runs.items()}


def report(medians, size):
    for name, median in medians.items():
        cpu = f"  {median['cpu']:5.2f} CPU s" if "cpu" in median else ""
        print(f"{name:40} {median['seconds']:6.3f} s  {size / median['seconds'] / 1e9:6.2f} GB/s{cpu}")
    rivals = {name: median["seconds"] for name, median in medians.items() if "torrent" in name}
    if rivals:
        best = min(rivals, key=rivals.get)
        print(f"index is {rivals[best] / medians['index']['seconds']:.2f} times as fast as {best}")
    print(f"verify is {medians['verify --full']['seconds'] / medians['verify']['seconds']:.2f} times "
          "as fast as verify --full")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="?", type=pathlib.Path, default="build/bin")
    parser.add_argument("--size", default="2GiB")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--place", default="/dev/shm")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--no-rival", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--create", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.create:
        kind, length, source = options.create
        create_torrent(pathlib.Path(source), kind, int(length))
        return
    with tempfile.TemporaryDirectory(prefix="shardswarm-index-", dir=options.place) as place:
        bench = Bench(options, pathlib.Path(place))
        medians = bench.run()
        if options.json:
            print(json.dumps({"bytes": bench.bytes, "medians": medians}))
        else:
            report(medians, bench.bytes)


if __name__ == "__main__":
    main()
