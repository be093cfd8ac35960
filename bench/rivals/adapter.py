"""What the adapters of the rivals share: the verbs, the events, and that nothing outlives them.

An adapter is an executable NAME.py beside this file. It needs Debian's Python and its own tool alone.

    NAME.py check     exit 0 if the tool can be used on this host, else 1 and why on stderr
    NAME.py verbs     a JSON array of the verbs it has
    NAME.py version   one line: the tool's own version, for the report
    NAME.py grid [--fetchers N]
                      a JSON array of settings, fixed beforehand; each is tried once
    NAME.py refine --settings JSON [--fetchers N]
                      only where the grid is coarse: a JSON array of settings that differ from the given
                      ones, the fastest so far, in one value each; each is tried once
    NAME.py prepare --dir DIR --out FILE --settings JSON
                      only where a tool needs a file of its own: handed to all as --prepared
    NAME.py prepared-by
                      with prepare: a JSON array of the names of the settings that prepare looks at.
                      Settings that are alike in these have one file
    NAME.py seed --dir DIR --listen IP --settings JSON --state DIR [--prepared FILE]
    NAME.py fetch --source IP --peers IP,IP... --out DIR --state DIR --listen IP --settings JSON
                  --manifest FILE [--prepared FILE]

The manifest is a JSON list of {"path", "size", "sha256"}: what to fetch. `seed` prints
{"event":"ready"} once it may be fetched from; `fetch` prints the same when its program is loaded, just
before it asks for anything, and {"event":"done","fetched_from":{IP: bytes}|null,"verified":bool} when
all of it is there, with the right sizes, and, where it says so, compared with the manifest's digests
or the tool's own. Both end at SIGTERM or when stdin closes, with exit 0; after a failure with exit 1.
"""

import argparse
import concurrent.futures
import ctypes
import hashlib
import heapq
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

MIB = 1 << 20
PR_SET_PDEATHSIG = 1
START_SECONDS = 10  # until a daemon that does not listen counts as broken
STOP_SECONDS = 3    # until a child that ignores SIGTERM is killed


class Failed(Exception):
    """A tool did not do what it was asked for; the message is for a person."""


class Rival:
    """One tool. A subclass sets these, and defines seed(), fetch() and, if needed, prepare() and
    refine()."""

    programs = ()  # all must be found for check() to pass
    settings = ({},)
    prepare = None
    prepared_by = ()  # the settings that prepare() looks at
    refine = None

    def grid(self, fetchers):
        """The settings that make sense for so many fetchers."""
        return self.settings

    def version(self):
        """The first line that the last of the programs says of its version."""
        said = subprocess.run([find(self.programs[-1]), "--version"], capture_output=True, text=True,
                              check=True)
        return said.stdout.splitlines()[0]

    def check(self):
        """Why the tool cannot be used here, or None."""
        missing = [program for program in self.programs if not find(program)]
        return f"not installed: {', '.join(missing)}" if missing else None


def find(program):
    """Daemons are where a user's PATH does not look."""
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")


def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


# --- children ---

_children = []


def start(command, **options):
    """A child in a process group of its own, which stop() ends. If this process is killed, the child
    has SIGTERM, too."""
    prctl = ctypes.CDLL(None).prctl

    def in_child():
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                             stdout=sys.stderr, preexec_fn=in_child, **options)
    _children.append(child)
    return child


def run_all(commands):
    """Runs them beside each other until all have ended well."""
    running = [start(command) for command in commands]
    for child in running:
        if child.wait() != 0:
            raise Failed(f"{child.args[0]} ended with {child.returncode}")
        _children.remove(child)  # its number may be another's now


def stop():
    """Ends all children and what they started."""
    def tell(number):
        for child in _children:
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                pass  # the whole group has ended

    tell(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for child in _children:
        try:
            child.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
    tell(signal.SIGKILL)


def end_with_stdin():
    """From now on SIGTERM, or the end of stdin, ends this process and its children."""
    def end(*_):
        stop()
        os._exit(0)  # not sys.exit: threads that hash would be waited for

    def watch():
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()


def wait_until_listening(child, address, port):
    deadline = time.monotonic() + START_SECONDS
    while True:
        if child.poll() is not None:
            raise Failed(f"{child.args[0]} ended with {child.returncode}")
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise Failed(f"nothing listens on {address}:{port}: {error}") from error
            time.sleep(0.02)


# --- files ---

def spread(files, parts):
    """The files in at most so many lists of about equal bytes, none of them empty."""
    heap = [(0, number, []) for number in range(min(parts, len(files)))]
    for file in sorted(files, key=lambda file: -file["size"]):
        size, number, mine = heapq.heappop(heap)
        mine.append(file)
        heapq.heappush(heap, (size + file["size"], number, mine))
    return [mine for _, _, mine in heap]


def link_root(state, directory):
    """STATE/root leads to the directory: no path needs quoting in a tool's own syntax."""
    root = state / "root"
    root.unlink(missing_ok=True)
    root.symlink_to(directory.resolve(), target_is_directory=True)


def sha256(path):
    digest, buffer = hashlib.sha256(), bytearray(MIB)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


def check_sizes(out, files):
    for file in files:
        path = out / file["path"]
        if not path.is_file() or path.stat().st_size != file["size"]:
            raise Failed(f"{path} is missing or has not {file['size']} bytes")


def check_digests(out, files):
    """With all cores: OpenSSL's SHA-256 runs outside the interpreter's lock."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda file: sha256(out / file["path"]), files)
        for file, digest in zip(files, found):
            if digest != file["sha256"]:
                raise Failed(f"{out / file['path']} is not what was sent")


def copy(options, files, commands):
    """The fetch of a tool that takes everything from the source: runs its commands, checks, and says
    so."""
    say("ready")
    run_all(commands)
    check_sizes(options.out, files)
    verify = options.settings["verify"]
    if verify:
        check_digests(options.out, files)
    say("done", fetched_from={options.source: sum(file["size"] for file in files)}, verified=verify)


# --- the command line ---

def parse(rival, verbs):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="verb", required=True)
    for verb in verbs:
        commands.add_parser(verb)

    def add(verb, *required):
        for name, kind in required:
            commands.choices[verb].add_argument(name, required=True, type=kind)

    path, settings = pathlib.Path, ("--settings", json.loads)
    for verb in {"grid", "refine"}.intersection(verbs):
        commands.choices[verb].add_argument("--fetchers", type=int, default=2)
    if rival.refine:
        add("refine", settings)
    add("seed", ("--dir", path), ("--listen", str), settings, ("--state", path))
    add("fetch", ("--source", str), ("--out", path), ("--listen", str), settings, ("--state", path),
        ("--manifest", path))
    commands.choices["fetch"].add_argument("--peers", default="", help="the other fetchers")
    for verb in ("seed", "fetch"):
        commands.choices[verb].add_argument("--prepared", type=path, required=bool(rival.prepare))
    if rival.prepare:
        add("prepare", ("--dir", path), ("--out", path), settings)
    return parser.parse_args()


def serve(rival, options):
    end_with_stdin()
    options.state.mkdir(parents=True, exist_ok=True)
    if options.verb == "seed":
        rival.seed(options)
    else:
        options.peers = [peer for peer in options.peers.split(",") if peer]
        options.out.mkdir(parents=True, exist_ok=True)
        rival.fetch(options, json.loads(options.manifest.read_text(encoding="utf-8")))
    while True:
        signal.pause()


def main(rival):
    verbs = ["check", "verbs", "version", "grid", *(["refine"] if rival.refine else []),
             *(["prepare", "prepared-by"] if rival.prepare else []), "seed", "fetch"]
    options = parse(rival, verbs)
    try:
        if options.verb == "check":
            if reason := rival.check():
                raise Failed(reason)
        elif options.verb == "verbs":
            print(json.dumps(verbs))
        elif options.verb == "version":
            print(rival.version())
        elif options.verb == "grid":
            print(json.dumps(rival.grid(options.fetchers)))
        elif options.verb == "refine":
            print(json.dumps(rival.refine(options.settings, options.fetchers)))
        elif options.verb == "prepared-by":
            print(json.dumps(rival.prepared_by))
        elif options.verb == "prepare":
            rival.prepare(options)
        else:
            serve(rival, options)
    except (Failed, OSError, ValueError) as error:
        stop()
        print(f"{pathlib.Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        # Not sys.exit: threads that hash would be waited for.
        sys.stderr.flush()
        os._exit(1)
