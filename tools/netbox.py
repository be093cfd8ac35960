#!/usr/bin/env python3
"""A network in a box: hosts with limited links, on one machine, apart from its own network.

    tools/netbox.py run [--hosts 8] [--rate 200mbit] [--up RATE] [--down RATE] -- COMMAND
    tools/netbox.py shell [the same]
    tools/netbox.py hold [the same]
    tools/netbox.py clean

`run` starts COMMAND once on every host and waits for all; in its environment are NETBOX_HOST (from 0),
NETBOX_ADDRESS and NETBOX_ADDRESSES (all, with commas). `shell` opens a shell on host 0. `hold` prints
one line of JSON with all hosts, for another program, and lives as long as its stdin. `clean` removes
what runs that were killed have left, and so does every new box. RATE is a number with kbit, mbit or
gbit, or a list with commas, one for each host. Needs root, and iproute2.

    with NetBox(hosts=8, up="200mbit", down="200mbit") as box:
        box.popen(3, ["iperf3", "-c", box.address(0)])

Each host is a network namespace with one interface, eth0. Its other end is a port of a bridge, which
is in a namespace of its own. What a host sends is limited on its eth0, what it receives on the port.
"""

import argparse
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NETWORK = "10.77.0"  # only in the namespaces: it may be the machine's own, too
NAMES = re.compile(r"^netbox-(\d+)-(\d+)-\d+-(hub|\d+)$")
SCRATCH = pathlib.Path("/dev/shm")
SCRATCH_NAMES = re.compile(r"^shardswarm-network-(\d+)-(\d+)-\w+$")
UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}

# A token bucket sends a burst at once, as fast as memory, and then at the rate. A packet that is larger
# than the bucket is cut to frames of 1500 bytes first: with 32 KiB that costs the machine twenty times
# the CPU time of 128 KiB (iperf3 at 200 Mbit/s), for a packet has up to 64 KiB until then. 128 KiB are
# 5 ms at 200 Mbit/s, 2.6 ms at 400: no transfer of seconds sees it, and a queue that is served late by
# a busy processor catches up. Above 1 Gbit/s a millisecond of the rate, for the same reason.
BURST_BYTES = 128 << 10
BURST_SECONDS = 0.001
# The queue before the bucket is the only buffer of the link: when it is full, packets are dropped, and
# when it is long, whoever has to ask for something waits as long behind others' bytes. 10 ms is what a
# switch has for a port (256 KiB at 200 Mbit/s); with 20 ms a ping under load takes 19 ms, for seven
# flows fill whatever there is. Below two bursts a single sender could not keep the link busy.
QUEUE_SECONDS = 0.010
QUEUE_BYTES_MIN = 2 * BURST_BYTES
# Frames of 1514 bytes carry 1448 of TCP: what of the rate can be payload.
PAYLOAD_SHARE = 1448 / 1514
# What sees the end of its stdin together with `hold` has so long to end.
HOLD_SECONDS = 10
# The same everywhere, whatever this machine's default is.
CONGESTION = "cubic"

_serial = itertools.count()


class NotPermitted(Exception):
    """This machine, or this user, makes no network namespaces with limited links."""


def bits_per_second(rate):
    """Of "200mbit", or of a number of bits per second."""
    if isinstance(rate, (int, float)):
        return float(rate)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit)", rate.strip())
    if not match:
        raise ValueError(f"a rate is like 200mbit or 1gbit, not '{rate}'")
    return float(match[1]) * UNITS[match[2]]


def rates_of(rate, hosts):
    """One rate for each host: of a list, of text with commas, or of one rate for all."""
    listed = rate.split(",") if isinstance(rate, str) else rate
    listed = list(listed) if isinstance(listed, (list, tuple)) else [listed]
    if len(listed) == 1:
        listed *= hosts
    if len(listed) != hosts:
        raise ValueError(f"{len(listed)} rates for {hosts} hosts")
    return [bits_per_second(one) for one in listed]


def bucket(rate):
    """tc's words for a link of `rate` bits per second."""
    burst = max(BURST_BYTES, int(rate / 8 * BURST_SECONDS))
    queue = max(QUEUE_BYTES_MIN, int(rate / 8 * QUEUE_SECONDS))
    return f"root tbf rate {int(rate)}bit burst {burst} limit {queue}"


def _batch(program, lines, namespace=None):
    """Runs lines of ip or tc, in a namespace."""
    where = ["-n", namespace] if namespace else []
    try:
        done = subprocess.run([program, *where, "-batch", "-"], input="\n".join(lines) + "\n", text=True,
                              capture_output=True, check=False)
    except FileNotFoundError:
        raise NotPermitted(f"no program '{program}': iproute2 is not installed") from None
    if done.returncode != 0:
        said = done.stderr.strip().split("\n")[0]
        raise NotPermitted(f"{program} cannot '{lines[0]}' here: {said}")


def _start_time(pid):
    """In clock ticks since boot; with it a process id is unique. None if there is no such process."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[19])
    except OSError:
        return None


def _inode(path):
    """None of what is not there, or not ours to see."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _inhabitants(names):
    """Ids of the processes in these namespaces."""
    inodes = {_inode(f"/run/netns/{name}") for name in names} - {None}
    return [int(entry) for entry in os.listdir("/proc")
            if entry.isdigit() and _inode(f"/proc/{entry}/ns/net") in inodes]


def _remove(names):
    """Ends the processes in these namespaces, then removes the namespaces."""
    deadline = time.monotonic() + 10
    while (pids := _inhabitants(names)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
            try:
                os.waitpid(pid, os.WNOHANG)  # a child of ours is there until somebody asks for it
            except OSError:
                pass
        time.sleep(0.01)
    for name in names:
        if os.path.exists(f"/run/netns/{name}"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _left(place, names):
    """What is there under such a name, and its owner is gone."""
    found = sorted(os.listdir(place)) if place.is_dir() else []
    return [name for name in found if (match := names.match(name))
            and _start_time(int(match[1])) != int(match[2])]


def scratch():
    """A new directory in memory for the files of a run; clean() removes it when this process is gone."""
    owner = f"{os.getpid()}-{_start_time(os.getpid())}"
    return pathlib.Path(tempfile.mkdtemp(prefix=f"shardswarm-network-{owner}-", dir=SCRATCH))


def clean():
    """Removes what killed processes have left, never what a living one holds; returns the names."""
    boxes = _left(pathlib.Path("/run/netns"), NAMES)
    _remove(boxes)  # first: what runs there holds the files
    files = _left(SCRATCH, SCRATCH_NAMES)
    for name in files:
        shutil.rmtree(SCRATCH / name, ignore_errors=True)
    return boxes + files


class NetBox:
    """Hosts 0 to hosts-1. `up` and `down`: a rate for all hosts, or one for each.

    A context manager, to be entered in the main thread: SIGTERM becomes SystemExit there, so that the
    namespaces, and all that runs in them, go away. NotPermitted if they cannot be made.
    """

    def __init__(self, hosts, up, down):
        if not 1 <= hosts <= 250:
            raise ValueError(f"1 to 250 hosts, not {hosts}")
        self.hosts = hosts
        self.up, self.down = rates_of(up, hosts), rates_of(down, hosts)
        self._prefix = f"netbox-{os.getpid()}-{_start_time(os.getpid())}-{next(_serial)}"
        self._hub = f"{self._prefix}-hub"
        self._names = [f"{self._prefix}-{host}" for host in range(hosts)]
        self._children = []
        self._watcher = self._handler = None

    def __enter__(self):
        self._handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def address(self, host):
        return f"{NETWORK}.{host + 1}"

    def namespace(self, host):
        return self._names[host]

    def popen(self, host, command, **options):
        """subprocess.Popen of a command on a host; it is killed when the box goes."""
        name = self._names[host]
        child = subprocess.Popen(["ip", "netns", "exec", name, *map(str, command)], **options)
        self._children.append(child)
        # What is not yet in the namespace would not be found there by whoever removes it.
        inode = _inode(f"/run/netns/{name}")
        while _inode(f"/proc/{child.pid}/ns/net") != inode and child.poll() is None:
            time.sleep(0.001)
        return child

    def counters(self):
        """[(bytes sent, bytes received)] of every host, of what has passed the limits. A packet's
        headers count once for up to 64 KiB of it, so this is payload, within 0.2 %."""
        found = {}
        for line in self._ports().splitlines()[2:]:
            name, fields = line.split(":")
            values = fields.split()
            found[name.strip()] = (int(values[0]), int(values[8]))  # what the port received, sent
        return [found[f"host{host}"] for host in range(self.hosts)]

    def wait_until_left(self, seconds):
        """Whoever ends by itself, and cleans up, has so long for it."""
        deadline = time.monotonic() + seconds
        while _inhabitants(self._names) and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self):
        for child in (*self._children, *([self._watcher] if self._watcher else [])):
            child.kill()
        _remove([self._hub, *self._names])
        for child in self._children:
            child.wait()
        self._children.clear()
        if self._watcher:
            self._watcher.wait()
            self._watcher.stdin.close()
            self._watcher = None
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None

    def _make(self):
        if os.geteuid() != 0 or not shutil.which("ip"):
            raise NotPermitted("network namespaces need root and iproute2")
        clean()
        _batch("ip", [f"netns add {name}" for name in (self._hub, *self._names)])
        ports = ["link add bridge type bridge", "link set bridge up"]
        limits = []
        for host, name in enumerate(self._names):
            ports += [f"link add host{host} type veth peer name eth0 netns {name}",
                      f"link set host{host} master bridge up"]
            limits.append(f"qdisc add dev host{host} {bucket(self.down[host])}")
        _batch("ip", ports, self._hub)
        _batch("tc", limits, self._hub)
        for host, name in enumerate(self._names):
            _batch("ip", ["link set lo up", f"addr add {self.address(host)}/24 dev eth0",
                          "link set eth0 up",
                          f"route replace {NETWORK}.0/24 dev eth0 src {self.address(host)} "
                          f"congctl {CONGESTION}"], name)
            _batch("tc", [f"qdisc add dev eth0 {bucket(self.up[host])}"], name)
        # Lives in the hub's namespace, for its counters are read through a process there.
        self._watcher = subprocess.Popen(["ip", "netns", "exec", self._hub, "cat"],
                                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._watches():
            if self._watcher.poll() is not None or time.monotonic() > deadline:
                raise NotPermitted("no process gets into the hub's namespace")
            time.sleep(0.001)

    def _watches(self):
        try:
            ports = self._ports()
        except OSError:  # of a process that has ended
            return False
        return all(f"host{host}:" in ports for host in range(self.hosts))

    def _ports(self):
        return pathlib.Path(f"/proc/{self._watcher.pid}/net/dev").read_text("ascii")


def _environment(box, host):
    return {**os.environ, "NETBOX_HOST": str(host), "NETBOX_ADDRESS": box.address(host),
            "NETBOX_ADDRESSES": ",".join(box.address(other) for other in range(box.hosts))}


def _main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="action", required=True)
    for name in ("run", "shell", "hold"):
        command = commands.add_parser(name)
        command.add_argument("--hosts", type=int, default=8)
        command.add_argument("--rate", default="200mbit", help="of both directions")
        command.add_argument("--up", help="instead of --rate")
        command.add_argument("--down", help="instead of --rate")
        if name == "run":
            command.add_argument("command", nargs="+")
    commands.add_parser("clean")
    arguments = parser.parse_args()
    if arguments.action == "clean":
        for name in clean():
            print(f"removed {name}")
        return 0
    box = NetBox(arguments.hosts, arguments.up or arguments.rate, arguments.down or arguments.rate)
    with box:
        if arguments.action == "shell":
            for host in range(box.hosts):
                print(f"host {host}: {box.address(host)}, ip netns exec {box.namespace(host)} COMMAND")
            shell = os.environ.get("SHELL", "/bin/sh")
            return box.popen(0, [shell], env=_environment(box, 0)).wait()
        if arguments.action == "hold":
            print(json.dumps([{"name": f"host-{host}", "namespace": box.namespace(host),
                               "address": box.address(host), "up": box.up[host], "down": box.down[host]}
                              for host in range(box.hosts)]), flush=True)
            sys.stdin.read()
            box.wait_until_left(HOLD_SECONDS)
            return 0
        children = [box.popen(host, arguments.command, env=_environment(box, host))
                    for host in range(box.hosts)]
        return max(abs(child.wait()) for child in children)


if __name__ == "__main__":
    try:
        sys.exit(_main())
    except (NotPermitted, ValueError) as error:
        print(f"netbox: {error}", file=sys.stderr)
        sys.exit(2)
