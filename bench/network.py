#!/usr/bin/env python3
"""One source, many fetchers, links of a known rate: how close to what the links allow?

    bench/network.py [DIRECTORY OF THE PROGRAMS] [--hosts 8] [--rate 200mbit] [--size 256MiB]
                     [--stages 4 [--replicas 2]] [--tls] [--repeat 3] [--json] [--iperf]
                     [--seed-args ARGS] [--fetch-args ARGS]

Real processes in a network of tools/netbox.py, files in /dev/shm. The makespan is from the start of the
fetchers, all at once, to the last `done`, that is, until everybody has everything, verified and on
disk. The bound is what no schedule can beat at the links' raw rate; of it TCP and IP headers take 4.4 %
anyway.
`--hosts` counts the source. With --stages S the fetchers are S times --replicas, each with one stage.
See bench/README.md. Needs root, and --iperf needs iperf3. `shardswarm-bench broadcast --netns` runs the
other tools.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import netbox  # noqa: E402  (found through the line above)

import network_report  # noqa: E402

MIB = 1 << 20
PORT = 7700
WAIT = 900  # seconds until a run counts as hanging
SAMPLE_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK")
# Hosts start at the same time; processes of one machine would be started one after the other.
WHEN_TOLD = ("sh", "-c", 'echo ready; read -r _; exec "$@"', "sh")


class Failed(Exception):
    pass


class Sampler:
    """The hosts' counters and the machine's processor time, every 50 ms, from a thread."""

    def __init__(self, box):
        self.box, self.rows, self.over = box, [], threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.over.is_set():
            self.rows.append((time.monotonic(), self.box.counters(), processor_times()))
            self.over.wait(SAMPLE_SECONDS)

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.rows


def processor_times():
    """(busy, total) seconds of all processors since boot."""
    with open("/proc/stat", encoding="ascii") as stat:
        values = [int(value) / TICKS for value in stat.readline().split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Follower:
    """A process on a host, and when which of its JSON lines came."""

    def __init__(self, box, host, command, env=None, log=None):
        self.process = box.popen(host, command, env=env, text=True, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=log)
        self.came, self.events, self.first = threading.Condition(), {}, None
        self.cpu, self.log = 0.0, log
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for line in self.process.stdout:
            now = time.monotonic()
            with self.came:
                self.first = self.first or line.strip()
                if line.startswith("{"):
                    event = json.loads(line)
                    if event["event"] == "done":
                        self.cpu = processor_seconds(self.process.pid)
                    self.events[event["event"]] = (now, event)
                self.came.notify_all()
        with self.came:
            self.came.notify_all()

    def wait(self, wanted, what):
        deadline = time.monotonic() + WAIT
        with self.came:
            while not (found := wanted()):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    said = pathlib.Path(self.log.name).read_text()[-2000:] if self.log else ""
                    raise Failed(f"{what} did not come: exit {self.process.poll()}\n{said}")
                self.came.wait(0.5)
        return found

    def event(self, name):
        return self.wait(lambda: self.events.get(name), f"event {name}")

    def line(self):
        return self.wait(lambda: self.first, "the first line")

    def say(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def run_shardswarm(box, place, source, options):
    """One run; returns what network_report.outcome makes of it."""
    program = options.bin / "shardswarm"
    trust = ["--insecure"]
    if options.tls:
        trust = ["--key", place / "cluster.key"]

    def flags(host):
        return [*trust, "--listen", f"{box.address(host)}:{PORT}", "--state", place / f"state{host}"]

    env = {**os.environ, "XDG_STATE_HOME": str(place / "xdg"), "XDG_CONFIG_HOME": str(place / "xdg")}
    env.pop("SHARDSWARM_KEY", None)
    with open(place / "log", "w+", encoding="utf-8") as log:
        seed = Follower(box, 0, [program, "seed", source, *flags(0), *shlex.split(options.seed_args)],
                        env, log)
        ticket = seed.line()
        before, sampler = processor_seconds(seed.process.pid), Sampler(box)
        fetches = []
        try:
            for host in range(1, box.hosts):
                stage = []
                if options.stages:
                    stage = ["--stage", f"{(host - 1) % options.stages + 1}/{options.stages}"]
                fetches.append(Follower(
                    box, host, [*WHEN_TOLD, program, "fetch", ticket, "--to", place / f"copy{host}",
                                "--json", "--no-reuse", "--linger", "forever", *stage, *flags(host),
                                *shlex.split(options.fetch_args)], env, log))
            for fetch in fetches:
                fetch.line()
            began = time.monotonic()
            for fetch in fetches:
                fetch.say()
            done = [fetch.event("done") for fetch in fetches]
        finally:
            rows = sampler.stop()
        cpu = [processor_seconds(seed.process.pid) - before, *(fetch.cpu for fetch in fetches)]
        for follower in (*fetches, seed):
            follower.end()
    events = [event for _, event in done]
    address = f"{box.address(0)}:{PORT}"
    sent = sum(peer["fetched_bytes"] for event in events for peer in event["peers"]
               if peer["address"] == address)
    check_copies(program, source, place, box.hosts, bool(options.stages))
    return network_report.outcome(
        box, rows, began=began, finished=[at for at, _ in done], cpu=cpu, sent=sent,
        wanted=[event["wanted_bytes"] for event in events], union=directory_bytes(source),
        duplicates=sum(event["duplicate_bytes"] for event in events))


def check_copies(program, source, place, hosts, parts):
    """All copies are the source's files, or verify; then they are gone."""
    for host in range(1, hosts):
        copy = place / f"copy{host}"
        if parts:
            subprocess.run([program, "-q", "verify", copy, "--full"], check=True,
                           stdout=subprocess.DEVNULL)
        else:
            for path in source.iterdir():
                if path.is_file() and subprocess.run(["cmp", "-s", path, copy / path.name],
                                                     check=False).returncode != 0:
                    raise Failed(f"{copy / path.name} is not what was sent")
        shutil.rmtree(copy)
        shutil.rmtree(place / f"state{host}", ignore_errors=True)


def directory_bytes(directory):
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def iperf(box):
    """The floor: payload of one TCP connection over one such link, as a share of its raw rate."""
    server = box.popen(1, ["iperf3", "-s", "-1", "-J"], stdout=subprocess.DEVNULL)
    for _ in range(50):
        client = box.popen(0, ["iperf3", "-c", box.address(1), "-t", "5", "-J"], text=True,
                           stdout=subprocess.PIPE)
        said = json.loads(client.communicate()[0])
        if "error" not in said:
            break
        time.sleep(0.1)  # the server does not listen yet
    else:
        raise Failed(f"iperf3: {said['error']}")
    server.wait()
    got = said["end"]["sum_received"]["bits_per_second"]
    return got / min(box.up[0], box.down[1])


def measure(options, place):
    source = place / "source"
    subprocess.run([options.bin / "shardswarm-make-checkpoint", source, "--size", options.size,
                    "--layers", "32", "--vocabulary", "8192"], check=True, stdout=subprocess.DEVNULL)
    if options.tls:
        subprocess.run([options.bin / "shardswarm", "-q", "key", "new", place / "cluster.key"],
                       check=True, stdout=subprocess.DEVNULL)
    with netbox.NetBox(options.hosts, options.up or options.rate, options.down or options.rate) as box:
        network_report.heading(box, directory_bytes(source), options)
        if options.iperf:
            network_report.say_floor(iperf(box), options)
        if options.repeat:
            runs = [run_shardswarm(box, place, source, options) for _ in range(options.repeat)]
            network_report.say(network_report.median("shardswarm", runs), options, details=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin", nargs="?", default="build/bin", type=pathlib.Path)
    parser.add_argument("--hosts", type=int, default=8, help="with the source")
    parser.add_argument("--rate", default="200mbit", help="of every link, both ways")
    parser.add_argument("--up", help="instead of --rate: one, or one for each host, with commas")
    parser.add_argument("--down", help="instead of --rate, the same")
    parser.add_argument("--size", default="256MiB")
    parser.add_argument("--repeat", type=int, default=3, help="the median is reported; 0: only --iperf")
    parser.add_argument("--stages", type=int, default=0, help="each fetcher takes one of so many")
    parser.add_argument("--replicas", type=int, default=1, help="fetchers of each stage")
    parser.add_argument("--tls", action="store_true", help="with a cluster key")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--iperf", action="store_true", help="what one connection brings on such a link")
    parser.add_argument("--seed-args", default="", help="more flags for the source")
    parser.add_argument("--fetch-args", default="", help="more flags for the fetchers")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    if options.stages:
        options.hosts = 1 + options.stages * options.replicas
    place = netbox.scratch()
    try:
        measure(options, place)
    except (Failed, netbox.NotPermitted, ValueError) as error:
        print(f"network: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
