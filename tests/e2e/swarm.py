"""What the end-to-end tests stand on: real processes, real sockets, and a reader of our own.

The programs are found through SHARDSWARM_BIN (a directory). Everything that a test starts ends with
it; everything that it writes is below one temporary directory.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

BIN = pathlib.Path(os.environ.get("SHARDSWARM_BIN", "build/bin")).resolve()
WAIT = 300  # seconds until a process that should have ended counts as hanging


class Ended:
    """A process that ended: exit code, output, and the events of --json."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def events(self):
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    @property
    def done(self):
        found = [event for event in self.events if event["event"] == "done"]
        if not found:
            raise AssertionError(f"no done event; exit {self.code}: {self.stderr}")
        return found[-1]


class Process:
    def __init__(self, arguments, env, popen=subprocess.Popen, input_text=None):
        stdin = subprocess.DEVNULL if input_text is None else subprocess.PIPE
        self.popen = popen(arguments, env=env, text=True, stdin=stdin, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        if input_text is not None:
            with contextlib.suppress(BrokenPipeError), self.popen.stdin:
                self.popen.stdin.write(input_text)
        self.lines, self.errors = [], []
        self.came = threading.Condition()
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.popen.stdout, self.lines), (self.popen.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    def _read(self, stream, into):
        for line in stream:
            with self.came:
                into.append(line)
                self.came.notify_all()
        with self.came:
            self.came.notify_all()

    def wait_for(self, wanted, what):
        """Blocks until wanted(self) is truthy, which it returns."""
        deadline = time.monotonic() + WAIT
        with self.came:
            while True:
                result = wanted(self)
                if result:
                    return result
                left = deadline - time.monotonic()
                if self.popen.poll() is not None or left <= 0:
                    raise AssertionError(f"{what} did not come; exit {self.popen.poll()}: "
                                         + "".join(self.errors))
                self.came.wait(min(left, 0.2))

    def event(self, name):
        def find(process):
            for line in process.lines:
                if line.startswith("{") and json.loads(line)["event"] == name:
                    return json.loads(line)
            return None
        return self.wait_for(find, f"event {name}")

    def end(self):
        """Waits for the end."""
        self.popen.wait(WAIT)
        for reader in self.readers:
            reader.join()
        self.popen.stdout.close()
        self.popen.stderr.close()
        return Ended(self.popen.returncode, "".join(self.lines), "".join(self.errors))

    def kill(self):
        return self.signal(signal.SIGKILL)

    def signal(self, number):
        self.popen.send_signal(number)
        return self.end()


class SwarmTest(unittest.TestCase):
    """A test with a temporary directory and processes that end with it."""

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="shardswarm-e2e-",
                                                     dir=os.environ.get("SHARDSWARM_TEST_DIR"))
        self.dir = pathlib.Path(self.temporary.name)
        self.addCleanup(self.temporary.cleanup)
        self.env = {**os.environ, "XDG_STATE_HOME": str(self.dir / "state"),
                    "XDG_CONFIG_HOME": str(self.dir / "config")}
        self.env.pop("SHARDSWARM_KEY", None)
        self.processes = []
        self.addCleanup(self._end_processes)

    def _end_processes(self):
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
            if not process.popen.stdout.closed:
                process.end()

    # --- programs ---

    def start(self, *arguments, input_text=None):
        process = Process([str(BIN / "shardswarm"), *map(str, arguments)], self.env,
                          input_text=input_text)
        self.processes.append(process)
        return process

    def run_command(self, *arguments, input_text=None):
        return self.start(*arguments, input_text=input_text).end()

    def seed(self, directory, *arguments):
        """Starts a seed; returns its process and its ticket. Unless told otherwise it listens on a
        port that the system chose: tests that run at the same time share the usual ones, and would
        take the port of a seed that is killed to be started again at its address."""
        if "--listen" not in arguments:
            arguments = ("--listen", ":0", *arguments)
        process = self.start("seed", directory, *arguments)
        ticket = process.wait_for(lambda p: p.lines and p.lines[-1].strip(), "the ticket")
        return process, ticket

    def start_fetch(self, ticket, to, *arguments, reuse=False):
        """Unless it is to `reuse`, what it brings came over the network, not from this machine."""
        flags = () if reuse else ("--no-reuse",)
        return self.start("fetch", ticket, "--to", to, "--json", *flags, *arguments)

    def fetch(self, ticket, to, *arguments, reuse=False):
        ended = self.start_fetch(ticket, to, *arguments, reuse=reuse).end()
        self.assertEqual(ended.code, 0, ended.stderr)
        return ended.done

    def checkpoint(self, name="source", **options):
        """Makes a checkpoint; options become the flags of shardswarm-make-checkpoint."""
        directory = self.dir / name
        flags = [str(BIN / "shardswarm-make-checkpoint"), str(directory)]
        for option, value in options.items():
            flags += [f"--{option}"] if value is True else [f"--{option}", str(value)]
        subprocess.run(flags, check=True, stdout=subprocess.DEVNULL)
        return directory

    # --- checks ---

    def assert_same_tree(self, source, copy):
        self.assertEqual(tree(source), tree(copy))

    def assert_has_tensors(self, source, copy, names):
        """Exactly these tensors are right in `copy`; `names` is a predicate over names."""
        wanted, got = tensors(source), tensors(copy)
        for name, digest in wanted.items():
            if names(name):
                self.assertEqual(got.get(name), digest, name)


# --- a reader of our own ---

def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tree(directory):
    """{relative path: SHA-256} of all files but the dot-files."""
    directory = pathlib.Path(directory)
    return {str(path.relative_to(directory)): digest_of(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file() and not any(p.startswith(".") for p in path.relative_to(directory).parts)}


def read_header(path):
    """(offset of the data, {tensor: entry}) of a safetensors file."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header


def tensors(directory):
    """{tensor: SHA-256 of its bytes} over all safetensors files of a directory."""
    found = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        base, header = read_header(path)
        with open(path, "rb") as file:
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                file.seek(base + begin)
                found[name] = hashlib.sha256(file.read(end - begin)).hexdigest()
    return found


def tensor_bytes(directory, names):
    total = 0
    for path in pathlib.Path(directory).glob("*.safetensors"):
        for name, entry in read_header(path)[1].items():
            if names(name):
                total += entry["data_offsets"][1] - entry["data_offsets"][0]
    return total


def plain_bytes(directory):
    return sum(path.stat().st_size for path in pathlib.Path(directory).iterdir()
               if path.is_file() and path.suffix != ".safetensors")


def layer_of(name):
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["model", "layers"] else None


def in_layers(first, last, layers, tied=False):
    """Predicate over names: what layers first..last of `layers` need, edges policy."""
    def wanted(name):
        layer = layer_of(name)
        if layer is not None:
            return first <= layer <= last
        if "embed_tokens" in name:
            return first == 0 or (tied and last == layers - 1)
        return last == layers - 1
    return wanted


class Proxy:
    """A TCP proxy that counts the bytes which it hands to the dialing side, and may slow them down
    or keep them."""

    def __init__(self, address, bytes_per_second=None, keep=False):
        host, port = address.rsplit(":", 1)
        self.target, self.rate = (host, int(port)), bytes_per_second
        self.down = 0
        self.kept = bytearray() if keep else None
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            self.sockets += [near, far]
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source, sink, down):
        block = bytearray(1 << 16)
        began, sent = time.monotonic(), 0
        try:
            while n := source.recv_into(block):
                sink.sendall(memoryview(block)[:n])
                if not down:
                    continue
                self.down += n
                if self.kept is not None:
                    self.kept += block[:n]
                sent += n
                if self.rate:
                    ahead = sent / self.rate - (time.monotonic() - began)
                    if ahead > 0:
                        time.sleep(ahead)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        for end in self.sockets:
            end.close()


def ticket_of(model, *addresses):
    """A ticket as spec/ticket.md has it; IPv6 addresses in brackets."""
    written = [address.replace("[", "%5B").replace("]", "%5D") for address in addresses]
    return f"shardswarm://{','.join(written)}/{model}"


def through(ticket, proxy):
    """The ticket with the proxy as its only peer."""
    return ticket_of(id_of(ticket), proxy.address)


def id_of(ticket):
    return ticket.rsplit("/", 1)[1]


def peers_of(ticket):
    written = ticket.removeprefix("shardswarm://").split("/")[0].split(",")
    return [address.replace("%5B", "[").replace("%5D", "]") for address in written]


def peer_of(ticket):
    return peers_of(ticket)[0]


def can_mount():
    """Whether this process may mount a tmpfs."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place],
                              capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", place], check=True)
        return done.returncode == 0
