#!/usr/bin/env python3
"""A swarm on this machine: one seed, three fetchers with different shards, verified.

    tools/demo.py [DIRECTORY OF THE PROGRAMS] [--size 1GiB] [--keep]

Traffic stays on loopback. Everything is made in a temporary directory and goes away afterwards.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

SHARDS = (("layers 0-7", ("--layers", "0-7")), ("layers 8-15", ("--layers", "8-15")),
          ("everything", ()))
BAR = 30


class Failed(Exception):
    pass


def size_text(count):
    return f"{count / (1 << 20):.0f} MiB" if count < 10 << 30 else f"{count / (1 << 30):.1f} GiB"


class Fetcher:
    """A fetch with --json, its last event and its outcome."""

    def __init__(self, name, command, env):
        self.name, self.progress, self.done = name, {}, None
        self.process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.finished = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "progress":
                self.progress = event
            elif event["event"] == "done":
                self.done = event
                self.finished.set()
        self.finished.set()

    def line(self):
        wanted = self.progress.get("wanted_bytes", 0)
        present = wanted if self.done else self.progress.get("present_bytes", 0)
        share = present / wanted if wanted else 0
        bar = "#" * int(share * BAR)
        return (f"{self.name:<12} [{bar:.<{BAR}}] {share * 100:3.0f} %  {size_text(present):>9}  "
                f"{self.progress.get('bytes_per_second', 0) / (1 << 20):5.0f} MiB/s  "
                f"{self.progress.get('peers', 0)} peers")


def show(fetchers):
    """Redraws the bars until all have ended; plain lines when nobody looks at a terminal."""
    terminal = sys.stdout.isatty()
    drawn = False
    while True:
        over = all(fetcher.finished.is_set() for fetcher in fetchers)
        if terminal:
            print(("\x1b[%dA" % len(fetchers) if drawn else "")
                  + "".join(f"{fetcher.line()}\x1b[K\n" for fetcher in fetchers), end="", flush=True)
            drawn = True
        elif over:
            print("\n".join(fetcher.line() for fetcher in fetchers), flush=True)
        if over:
            return
        fetchers[-1].finished.wait(0.1) if not fetchers[-1].finished.is_set() else time.sleep(0.05)


# --- verification that trusts nothing of ours: sha256sum, and a reader of safetensors below ---

def sha256sums(directory):
    names = sorted(str(p.relative_to(directory)) for p in directory.rglob("*")
                   if p.is_file() and ".shardswarm" not in p.parts)
    listed = subprocess.run(["sha256sum", "--", *names], cwd=directory, text=True, check=True,
                            capture_output=True).stdout
    return dict(reversed(line.split("  ", 1)) for line in listed.splitlines())


def tensor_digests(directory, wanted):
    """{tensor: SHA-256} of the tensors for which wanted(name)."""
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        with open(path, "rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                if wanted(name):
                    begin, end = entry["data_offsets"]
                    file.seek(8 + length + begin)
                    found[name] = hashlib.sha256(file.read(end - begin)).hexdigest()
    return found


def belongs(name, first, last, layers):
    if name.startswith("model.layers."):
        return first <= int(name.split(".")[2]) <= last
    return first == 0 if "embed_tokens" in name else last == layers - 1


def verify(source, sums, copies):
    whole = copies["everything"]
    if sha256sums(whole) != sums:
        raise Failed("the whole copy differs from the source")
    print(f"everything:  all {len(sums)} files have the source's SHA-256 (sha256sum)")
    for name, (first, last) in (("layers 0-7", (0, 7)), ("layers 8-15", (8, 15))):
        wanted = lambda tensor: belongs(tensor, first, last, 16)
        right = tensor_digests(source, wanted)
        if tensor_digests(copies[name], wanted) != right:
            raise Failed(f"{name}: tensors differ from the source's")
        # A part has files and an index of its own for the tensors.
        plain = {path: digest for path, digest in sums.items()
                 if not path.endswith((".safetensors", ".safetensors.index.json"))}
        index = json.loads((copies[name] / "model.safetensors.index.json").read_text())
        if index["weight_map"].keys() != right.keys():
            raise Failed(f"{name}: its index does not name just its tensors")
        if not plain.items() <= sha256sums(copies[name]).items():
            raise Failed(f"{name}: configuration or tokenizer files differ")
        print(f"{name + ':':<12} all {len(right)} tensors and {len(plain)} other files are the source's")


def who_from_whom(fetchers, seed_address):
    names = {seed_address: "seed"}
    for fetcher in fetchers:
        for address in fetcher.done["addresses"]:
            names[address] = fetcher.name
    sources = ["seed", *(fetcher.name for fetcher in fetchers)]
    rows = [["", "wanted", *(f"from {name}" for name in sources), "twice", "time"]]
    for fetcher in fetchers:
        got = {names.get(p["address"], "?"): p["fetched_bytes"] for p in fetcher.done["peers"]}
        rows.append([fetcher.name, size_text(fetcher.done["wanted_bytes"]),
                     *(size_text(got[name]) if got.get(name) else "-" for name in sources),
                     size_text(fetcher.done["duplicate_bytes"]), f"{fetcher.done['seconds']:.1f} s"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
    from_seed = sum(p["fetched_bytes"] for f in fetchers for p in f.done["peers"]
                    if names.get(p["address"]) == "seed")
    wanted = sum(fetcher.done["wanted_bytes"] for fetcher in fetchers)
    union = max(fetcher.done["wanted_bytes"] for fetcher in fetchers)
    engine = fetchers[-1].done["engine"]
    print(f"\nThe seed sent {size_text(from_seed)}, {from_seed / union:.2f} copies of the model; "
          f"{size_text(wanted)} were wanted in all.")
    print(f"Disk engine: {engine['name']}, {engine['submissions']} submissions, "
          f"{'registered' if engine['registered_buffers'] else 'plain'} buffers.")


def run(bin_directory, place, size):
    env = {**os.environ, "XDG_STATE_HOME": str(place / "state"), "XDG_CONFIG_HOME": str(place)}
    env.pop("SHARDSWARM_KEY", None)
    source = place / "source"
    print(f"Making a llama-shaped checkpoint of about {size}, 16 layers ...", flush=True)
    subprocess.run([bin_directory / "shardswarm-make-checkpoint", source, "--family", "llama", "--size",
                    size, "--layers", "16", "--vocabulary", "32000"], check=True,
                   stdout=subprocess.DEVNULL)
    sums = sha256sums(source)
    programs = []
    try:
        seed = subprocess.Popen([bin_directory / "shardswarm", "seed", source], env=env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        programs.append(seed)
        ticket = seed.stdout.readline().strip()
        if not ticket:
            raise Failed("the seed did not start")
        print(f"Seeding {ticket}\n", flush=True)
        fetchers = []
        for name, flags in SHARDS:
            command = [bin_directory / "shardswarm", "fetch", ticket, "--to", place / name, "--json",
                       "--no-reuse", "--linger", "forever", *flags]
            fetchers.append(Fetcher(name, command, env))
            programs.append(fetchers[-1].process)
        show(fetchers)
        for fetcher in fetchers:
            if fetcher.done is None:
                raise Failed(f"{fetcher.name}: {fetcher.process.stderr.read().strip()}")
        print()
        verify(source, sums, {name: place / name for name, _ in SHARDS})
        print()
        who_from_whom(fetchers, ticket.removeprefix("shardswarm://").partition("/")[0])
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin", nargs="?", default="build/bin", type=pathlib.Path)
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    arguments = parser.parse_args()
    place = pathlib.Path(tempfile.mkdtemp(prefix="shardswarm-demo-"))
    try:
        run(arguments.bin.resolve(), place, arguments.size)
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if arguments.keep:
            print(f"kept in {place}")
        else:
            shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
