"""The LAN harness: real agents on loopback, in network namespaces, and on hosts reached by ssh."""

import datetime
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from skips import skip
from swarm import BIN, WAIT, Process, SwarmTest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from netbox import NetBox, NotPermitted  # noqa: E402  (found through the line above)

SMALL = ("--size", "24MiB", "--layers", "8", "--vocabulary", "2048")
MARK = "SHARDSWARM_BENCH_TEST"
SSHD = "/usr/sbin/sshd"
RIVALS = pathlib.Path(__file__).resolve().parents[2] / "bench" / "rivals"


def marked(mark):
    """Ids of the processes that have the mark in their environment, and have not ended."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and mark.encode() in pathlib.Path(f"/proc/{entry}/environ").read_bytes():
                found.append(int(entry))
        except OSError:
            pass
    return found


class BenchTest(SwarmTest):
    def setUp(self):
        super().setUp()
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.env[name] = value
        for variable in list(self.env):
            if variable.startswith("SLURM_"):
                del self.env[variable]
        self.work = self.dir / "work"
        self.work.mkdir()
        self.result = self.dir / "result.json"

    def start_bench(self, *arguments, popen=subprocess.Popen):
        repeat = () if "--repeat" in arguments else ("--repeat", "1")
        process = Process([str(BIN / "shardswarm-bench"), *map(str, arguments), *repeat,
                           "--dir", str(self.work), "--json", str(self.result)], self.env, popen)
        self.processes.append(process)
        return process

    def bench(self, *arguments, code=0, popen=subprocess.Popen):
        """Runs it to its end; the result, with which everything that it made is gone."""
        ended = self.start_bench(*arguments, popen=popen).end()
        self.assertEqual(ended.code, code, ended.stderr)
        self.assert_nothing_left()
        self.table = ended.stdout
        return json.loads(self.result.read_text(encoding="utf-8"))

    def assert_nothing_left(self):
        """Sooner or later: whoever sees the end of its stdin still has to clean up."""
        deadline, pause = time.monotonic() + WAIT, threading.Event()
        while (marked(self.mark) or list(self.work.iterdir())) and time.monotonic() < deadline:
            pause.wait(0.02)
        self.assertEqual(marked(self.mark), [])
        self.assertEqual(list(self.work.iterdir()), [])

    def assert_all_done(self, result, runs):
        """All runs came through, each fetcher has what it wanted, and the sums agree."""
        self.assertEqual([run["error"] for run in result["runs"]], [None] * runs)
        for run in result["runs"]:
            done = [node["done_seconds"] for node in run["nodes"] if node["role"] == "fetcher"]
            self.assertEqual(run["makespan_seconds"], max(done))
            for node in run["nodes"]:
                self.assertGreater(node["peak_resident_bytes"], 0)
                self.assertGreater(sum(point["received_bytes_per_second"]
                                       + point["sent_bytes_per_second"] for point in node["rate"]), 0)
                if node["role"] == "fetcher" and node["fetched_from"]:
                    self.assertEqual(sum(node["fetched_from"].values()), node["received_bytes"])
                    self.assertEqual(node["received_bytes"] - (node["duplicate_bytes"] or 0),
                                     node["wanted_bytes"])


class LocalTest(BenchTest):
    """Nodes on loopback: no rights needed."""

    def test_a_pair(self):
        result = self.bench("pair", *SMALL, "--html", self.dir / "report.html")
        self.assert_all_done(result, 2)
        self.assertEqual([run["warm_up"] for run in result["runs"]], [True, False])
        self.assertEqual(result["scenario"]["hosts"], 2)
        run = result["runs"][1]
        self.assertIsNone(run["bound_seconds"])
        source, fetcher = run["nodes"]
        self.assertEqual(source["sent_bytes"], fetcher["received_bytes"])
        self.assertLess(abs(run["source_copies"] - 1), 0.02)
        self.assertEqual(result["summary"][0]["times_shardswarm"], 1)
        self.assertIn("shardswarm", self.table)
        self.assertIn("<svg", (self.dir / "report.html").read_text(encoding="utf-8"))

    def test_a_result_says_how_it_was_made(self):
        before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        result = self.bench("pair", *SMALL, "--fetch-args", "--network-threads 1")
        origin, model, host = result["origin"], result["model"], result["hosts"][0]
        self.assertEqual(shlex.split(origin["command"])[1:],
                         ["pair", *SMALL, "--fetch-args", "--network-threads 1", "--repeat", "1", "--dir",
                          str(self.work), "--json", str(self.result)])
        version = subprocess.run([BIN / "shardswarm", "--version"], capture_output=True, text=True,
                                 check=True).stdout
        self.assertEqual(origin["version"], "; ".join(version.splitlines()))
        started = datetime.datetime.fromisoformat(origin["started"].replace("Z", "+00:00"))
        self.assertLessEqual(before, started)
        self.assertEqual(model["bytes"], result["scenario"]["model_bytes"])
        self.assertGreater(model["pieces"], 24)
        self.assertRegex(model["id"], "^[0-9a-f]{64}$")
        self.assertEqual(host["kernel"], os.uname().release)
        named = [line.split(":", 1)[1].strip() for line in
                 pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
                 if line.startswith("model name")]
        self.assertEqual(host["cpu"], named[0] if named else "")
        self.assertTrue(result["conclusion"].startswith("shardswarm brought "), result["conclusion"])
        for said in (origin["command"], origin["version"], origin["started"], result["conclusion"]):
            self.assertIn(said, self.table)

    def test_a_rival_is_measured_with_its_best_settings(self):
        adapter = RIVALS / "libtorrent.py"
        if subprocess.run([adapter, "check"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            skip(self, "python3-libtorrent is not installed")
        result = self.bench("pair", "--size", "2MiB", "--layers", "2", "--vocabulary", "256",
                            "--rivals", "libtorrent", "--repeat", "2")
        self.assertEqual({run["error"] for run in result["runs"]}, {None})
        theirs = [run for run in result["runs"] if run["tool"] == "libtorrent"]
        tried = [run for run in theirs if run["warm_up"]]
        grid = json.loads(subprocess.run([adapter, "grid", "--fetchers", "1"], capture_output=True,
                                         check=True).stdout)
        self.assertEqual([run["settings"] for run in tried[:len(grid)]], grid)
        best = min(tried[:len(grid)], key=lambda run: run["makespan_seconds"])["settings"]
        near = json.loads(subprocess.run([adapter, "refine", "--settings", json.dumps(best), "--fetchers",
                                          "1"], capture_output=True, check=True).stdout)
        for settings in near:
            self.assertIn(settings, [run["settings"] for run in tried])
        # The fastest of all is measured in each round, with at most two more.
        fastest = min(tried, key=lambda run: run["makespan_seconds"])
        for repeat in (1, 2):
            measured = [run["settings"] for run in theirs if run["repeat"] == repeat]
            self.assertIn(fastest["settings"], measured)
            self.assertLessEqual(len(measured), 3)
        self.assertIn("libtorrent 2", result["origin"]["rivals"]["libtorrent"])
        self.assertIn(f"libtorrent with the best of {len(tried)} settings", result["conclusion"])

    def test_a_pair_under_tls_with_the_other_engine(self):
        result = self.bench("pair", *SMALL, "--tls", "--engine", "posix")
        self.assert_all_done(result, 2)
        self.assertEqual(result["scenario"]["transport"], "tls")

    def test_a_model_that_is_there(self):
        source = self.checkpoint(size="8MiB")
        result = self.bench("broadcast", "--local", "3", "--model", source)
        self.assert_all_done(result, 2)
        self.assertEqual(result["scenario"]["model_bytes"],
                         sum(path.stat().st_size for path in source.rglob("*") if path.is_file()))

    def test_a_cold_source(self):
        result = self.bench("pair", *SMALL, "--cold")
        self.assert_all_done(result, 2)
        self.assertTrue(result["scenario"]["cold"])
        self.assertIn("cold source", self.table)

    def test_evicted_files_are_in_no_cache(self):
        source = self.checkpoint(size="8MiB")
        bench = str(BIN / "shardswarm-bench")
        subprocess.run([bench, "evict", source], check=True)
        weights = max(source.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
        with open(weights, "rb") as file, self.assertRaises(BlockingIOError):
            os.preadv(file.fileno(), [bytearray(1)], 1 << 20, os.RWF_NOWAIT)
        weights.read_bytes()
        with open(weights, "rb") as file:
            self.assertEqual(os.preadv(file.fileno(), [bytearray(1)], 1 << 20, os.RWF_NOWAIT), 1)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            ended = subprocess.run([bench, "evict", memory], stderr=subprocess.PIPE, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"is in memory", ended.stderr)

    def test_reuse_brings_what_differs(self):
        result = self.bench("reuse", *SMALL)
        self.assertEqual([run["error"] for run in result["runs"]], [None, None])
        model = result["scenario"]["model_bytes"]
        for run in result["runs"]:
            self.assertGreater(run["nodes"][1]["received_bytes"], model / 10)
            self.assertLess(run["nodes"][1]["received_bytes"], model / 2)  # a quarter of the layers

    def test_a_failed_run_says_why_and_the_others_go_on(self):
        result = self.bench("pair", *SMALL, "--fetch-args", "--layers 99-100", code=1)
        self.assertEqual(len(result["runs"]), 2)
        for run in result["runs"]:
            self.assertIn("exit 2: ", run["error"])
        self.assertEqual(result["summary"], [])
        self.assertIn("FAILED", self.table)

    def test_what_makes_no_sense_is_refused(self):
        for arguments in (("party",), ("pair", "--local", "1"), ("late-join", "--local", "2"),
                          ("pair", "--hosts", self.dir / "none"),
                          ("reuse", "--model", self.dir)):
            ended = self.start_bench(*arguments).end()
            self.assertEqual(ended.code, 2, arguments)
            self.assertFalse(self.result.exists())
            self.assert_nothing_left()

    def test_a_controller_that_is_told_to_end_leaves_nothing(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            bench = self.start_bench("pair", *SMALL, "--repeat", "1000")
            bench.wait_for(lambda process: "run 1 " in "".join(process.errors), "the first run")
            bench.signal(number)
            self.assert_nothing_left()


class NamespacesTest(BenchTest):
    def setUp(self):
        super().setUp()
        try:
            with NetBox(1, "100mbit", "100mbit"):
                pass
        except NotPermitted as error:
            skip(self, "network namespaces with limited links are not permitted here", str(error))

    def test_a_broadcast(self):
        result = self.bench("broadcast", "--netns", "3", "--rate", "100mbit", *SMALL)
        self.assert_all_done(result, 2)
        self.assertEqual(result["scenario"]["rate_bits_per_second"], 100e6)
        self.assertEqual([host["name"] for host in result["hosts"]], ["host-0", "host-1", "host-2"])
        for run in result["runs"]:
            # A link that is not limited would be far below the bound.
            self.assertGreater(run["ratio"], 1)
            self.assertAlmostEqual(run["bound_seconds"], max(
                node["start_seconds"] + 8 * node["wanted_bytes"] / 100e6 for node in run["nodes"]
                if node["role"] == "fetcher"), 9)
            self.assertGreater(run["source_copies"], 0.9)
            for node in run["nodes"][1:]:
                self.assertLess(abs(self.carried(node) - node["received_bytes"]),
                                0.1 * node["received_bytes"])

    def carried(self, node):
        """What the rates over time amount to; what the first point covers is not said."""
        points = node["rate"]
        return sum(point["received_bytes_per_second"] * (point["t"] - before["t"])
                   for before, point in zip([{"t": 0}, *points], points))

    def test_nodes_that_come_and_go(self):
        for scenario in ("late-join", "source-lost", "resume", "stages"):
            with self.subTest(scenario):
                result = self.bench(scenario, "--netns", "3", "--rate", "100mbit", *SMALL,
                                    "--stages", "2", "--replicas", "1")
                self.assertEqual([run["error"] for run in result["runs"]], [None, None])
                run = result["runs"][1]
                if scenario == "late-join":
                    self.assertGreater(run["nodes"][2]["start_seconds"], 0)
                    self.assertGreater(run["nodes"][2]["done_seconds"], run["nodes"][2]["start_seconds"])
                elif scenario == "source-lost":
                    self.assertEqual([node["role"] for node in run["nodes"]],
                                     ["source", "source", "fetcher"])
                elif scenario == "resume":
                    # The killed process took its count along.
                    self.assertEqual(run["nodes"][1]["fetched_from"], {})
                    self.assertGreater(run["nodes"][1]["received_bytes"],
                                       0.9 * run["nodes"][1]["wanted_bytes"])
                else:
                    self.assertEqual(result["scenario"]["stages"], 2)
                    self.assertLess(run["nodes"][1]["wanted_bytes"],
                                    0.8 * result["scenario"]["model_bytes"])

    def test_the_nodes_of_a_slurm_job(self):
        """A stand-in for srun, which takes its words and brings the agent onto a host of the box."""
        box = self.enterContext(NetBox(2, "200mbit", "200mbit"))
        programs = self.dir / "slurm"
        programs.mkdir()
        prefix = box.namespace(0)[:-1]
        (programs / "srun").write_text(
            "#!/bin/sh\n"
            "while case $1 in --*) true;; *) false;; esac; do\n"
            "  case $1 in --nodelist=node*) node=${1#--nodelist=node};; esac\n"
            "  shift\n"
            "done\n"
            f'exec ip netns exec "{prefix}$node" "$@"\n', encoding="ascii")
        (programs / "srun").chmod(0o755)
        self.env |= {"SLURM_JOB_NODELIST": "node[0-1]", "SLURM_CPUS_ON_NODE": "2",
                     "PATH": f"{programs}:{self.env['PATH']}"}
        result = self.bench("pair", *SMALL)
        self.assert_all_done(result, 2)
        self.assertEqual([host["name"] for host in result["hosts"]], ["node0", "node1"])

    def test_a_killed_controller_leaves_no_namespace(self):
        bench = self.start_bench("broadcast", "--netns", "3", "--rate", "20mbit", *SMALL)
        bench.wait_for(lambda _: self.fetching(), "fetchers under way")
        box = self.namespaces()
        self.assertEqual(len(box), 4)  # the hub is one
        bench.kill()
        self.assert_nothing_left()
        self.assertEqual(sorted(set(box) & set(os.listdir("/run/netns"))), [])

    def fetching(self):
        return [pid for pid in marked(self.mark) if self.is_fetch(pid)]

    def is_fetch(self, pid):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0].endswith(b"/shardswarm") and words[1:2] == [b"fetch"]

    def namespaces(self):
        """Those that a process of this test made: other tests have theirs at the same time."""
        boxes = tuple(f"netbox-{pid}-" for pid in marked(self.mark))
        return [name for name in os.listdir("/run/netns") if name.startswith(boxes)]


class SshTest(BenchTest):
    """Two hosts with sshd, keys made for this; the controller stands on the first."""

    def setUp(self):
        super().setUp()
        if not os.path.exists(SSHD) or not shutil.which("ssh"):
            skip(self, "sshd is not installed")
        try:
            self.box = self.enterContext(NetBox(2, "200mbit", "200mbit"))
        except NotPermitted as error:
            skip(self, "network namespaces with limited links are not permitted here", str(error))
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # which sshd wants, and the system makes
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / key],
                           check=True)
        (self.dir / "ssh_config").write_text(
            f"Host *\n IdentityFile {self.dir}/user\n IdentitiesOnly yes\n StrictHostKeyChecking no\n"
            f" UserKnownHostsFile /dev/null\n LogLevel ERROR\n", encoding="ascii")
        for host in range(2):
            self.start_sshd(host)
        self.hosts = self.dir / "hosts"
        self.hosts.write_text("".join(f"root@{self.box.address(host)}:2200 name=node{host} rate=200mbit\n"
                                      for host in range(2)), encoding="ascii")
        self.programs = self.dir / "programs"

    def start_sshd(self, host):
        config = self.dir / f"sshd_config{host}"
        config.write_text(
            f"Port 2200\nListenAddress {self.box.address(host)}\nHostKey {self.dir}/host\n"
            f"AuthorizedKeysFile {self.dir}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
            f"PasswordAuthentication no\nPermitRootLogin prohibit-password\n", encoding="ascii")
        log = open(self.dir / f"sshd{host}.log", "w", encoding="utf-8")
        self.addCleanup(log.close)
        self.box.popen(host, [SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=log)

    def popen(self, command, **options):
        return self.box.popen(0, command, **options)

    def bench_by_ssh(self, *arguments, code=0):
        return self.bench("pair", "--hosts", self.hosts, "--ssh", f"ssh -F {self.dir}/ssh_config",
                          "--remote-dir", self.programs, *SMALL, *arguments, code=code,
                          popen=self.popen)

    def wait_for_sshd(self):
        deadline, pause = time.monotonic() + WAIT, threading.Event()
        for host in range(2):
            while True:
                tried = self.box.popen(0, ["ssh", "-F", self.dir / "ssh_config", "-o", "BatchMode=yes",
                                           "-p", "2200", f"root@{self.box.address(host)}", "true"],
                                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                said = tried.communicate()[1]
                if tried.returncode == 0:
                    break
                if time.monotonic() > deadline:
                    self.fail(said + (self.dir / f"sshd{host}.log").read_text(encoding="utf-8"))
                pause.wait(0.05)

    def test_a_pair_of_hosts_without_our_programs(self):
        self.wait_for_sshd()
        result = self.bench_by_ssh()
        self.assert_all_done(result, 2)
        self.assertEqual([host["name"] for host in result["hosts"]], ["node0", "node1"])
        for run in result["runs"]:
            self.assertGreater(run["ratio"], 1)
            self.assertEqual(set(run["nodes"][1]["fetched_from"]), {"node0"})
        copied, = self.programs.iterdir()
        first = (copied / "shardswarm").stat().st_mtime_ns
        self.bench_by_ssh()
        self.assertEqual((copied / "shardswarm").stat().st_mtime_ns, first)  # not copied again

    def test_a_host_that_does_not_answer_is_named(self):
        self.wait_for_sshd()
        self.hosts.write_text(self.hosts.read_text(encoding="ascii").replace(
            f"{self.box.address(1)}:2200", f"{self.box.address(1)}:2201"), encoding="ascii")
        ended = self.start_bench("pair", "--hosts", self.hosts, "--ssh", f"ssh -F {self.dir}/ssh_config",
                                 "--remote-dir", self.programs, popen=self.popen).end()
        self.assertEqual(ended.code, 1)
        self.assertIn("node1", ended.stderr)
        self.assert_nothing_left()


del BenchTest  # has no tests of its own
