"""The adapters of the rivals, by their contract (bench/rivals/adapter.py), over loopback."""

import hashlib
import json
import pathlib
import queue
import random
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from skips import skip

RIVALS = pathlib.Path(__file__).resolve().parents[2] / "bench" / "rivals"
SOURCE, FETCHERS = "127.77.0.1", ("127.77.0.2", "127.77.0.3")
WAIT = 60  # seconds until something that should have come counts as hanging


class Running:
    """An adapter under way, in a session of its own, so that what it leaves behind can be found."""

    def __init__(self, command):
        self.popen = subprocess.Popen([str(part) for part in command], text=True, bufsize=1,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, start_new_session=True)
        self.events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            self.events.put(json.loads(line))
        self.events.put({"event": "end of output"})

    def event(self, name):
        event = self.events.get(timeout=WAIT)
        if event["event"] != name:
            self.popen.terminate()
            raise AssertionError(f"{event} instead of {name}: {self.popen.stderr.read()}")
        return event

    def alive(self):
        """Processes of its session that have not ended."""
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                name, rest = stat.read_text().rsplit(")", 1)
            except OSError:
                continue  # ended meanwhile
            state, _, _, session = rest.split()[:4]
            if int(session) == self.popen.pid and state not in "ZX":
                found.append(name)
        return found

    def kill(self):
        self.popen.kill()
        self.close()

    def close(self):
        self.popen.stdin.close()
        code = self.popen.wait(WAIT)
        self.popen.stdout.close()
        self.popen.stderr.close()
        return code


class RivalsTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.source = self.dir / "source"
        content = random.Random(1)
        # Names that a URL, a list or a configuration would have to quote; an empty file.
        for name, size in (("model-1.safetensors", 9_000_001), ("model-2.safetensors", 3 << 20),
                           ("below/it's 100% \"quoted\" #1.bin", 70_000), ("below/config.json", 12),
                           ("empty", 0)):
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.randbytes(size))

    def start(self, *command):
        running = Running(command)
        self.addCleanup(running.kill)
        return running

    def ask(self, rival, *arguments):
        said = subprocess.run([RIVALS / f"{rival}.py", *arguments], capture_output=True, text=True,
                              check=True).stdout
        return json.loads(said) if said else None

    def installed(self, rival):
        checked = subprocess.run([RIVALS / f"{rival}.py", "check"], capture_output=True, text=True,
                                 check=False)
        if checked.returncode != 0:
            self.assertIn("not installed", checked.stderr)
            skip(self, "a rival is not installed", checked.stderr.strip())

    def manifest(self, *only, spoiled=None):
        files = []
        for path in sorted(self.source.rglob("*")):
            name = str(path.relative_to(self.source))
            if path.is_file() and (not only or name in only):
                digest = "0" * 64 if name == spoiled else hashlib.sha256(path.read_bytes()).hexdigest()
                files.append({"path": name, "size": path.stat().st_size, "sha256": digest})
        to = self.dir / "manifest.json"
        to.write_text(json.dumps(files))
        return to

    def seed(self, rival, settings):
        """Returns the source under way and the arguments that its fetchers need, too."""
        extra = []
        if "prepare" in self.ask(rival, "verbs"):
            extra = ["--prepared", self.dir / "prepared"]
            self.ask(rival, "prepare", "--dir", self.source, "--out", self.dir / "prepared",
                     "--settings", json.dumps(settings))
        extra += ["--settings", json.dumps(settings)]
        seed = self.start(RIVALS / f"{rival}.py", "seed", "--dir", self.source, "--listen", SOURCE,
                          "--state", self.dir / "state-source", *extra)
        seed.event("ready")
        return seed, extra

    def fetch(self, rival, number, extra, manifest):
        own = FETCHERS[number]
        others = ",".join(address for address in FETCHERS if address != own)
        return self.start(RIVALS / f"{rival}.py", "fetch", "--source", SOURCE, "--peers", others,
                          "--out", self.dir / f"copy{number}", "--state", self.dir / f"state{number}",
                          "--listen", own, "--manifest", manifest, *extra)

    def assert_copied(self, number, manifest):
        copy = self.dir / f"copy{number}"
        wanted = {file["path"] for file in json.loads(manifest.read_text())}
        self.assertEqual({str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()},
                         wanted)
        for name in wanted:
            self.assertEqual((copy / name).read_bytes(), (self.source / name).read_bytes(), name)

    def assert_gone(self, running):
        deadline = time.monotonic() + WAIT
        while left := running.alive():  # killed ones need a moment to end
            self.assertLess(time.monotonic(), deadline, f"left behind: {left}")
            time.sleep(0.01)

    def check_rival(self, rival):
        self.installed(rival)
        with self.subTest("everything, to two fetchers, with both ends of its grid"):
            manifest = self.manifest()
            grid = self.ask(rival, "grid", "--fetchers", "2")
            for settings in (grid[0], grid[-1]):
                seed, extra = self.seed(rival, settings)
                fetches = [self.fetch(rival, number, extra, manifest) for number in range(2)]
                for number, fetch in enumerate(fetches):
                    fetch.event("ready")
                    done = fetch.event("done")
                    self.assert_copied(number, manifest)
                    self.check_done(done, settings, FETCHERS[number])
                for running in (*fetches, seed):
                    self.assertNotEqual(running.alive(), [])
                    self.assertEqual(running.close(), 0)
                    self.assert_gone(running)
                subprocess.run(["rm", "-r", self.dir / "copy0", self.dir / "copy1"], check=True)
        self.check_part(rival)

    def check_done(self, done, settings, own):
        self.assertEqual(done["verified"], settings.get("verify", True))
        size = sum(path.stat().st_size for path in self.source.rglob("*") if path.is_file())
        self.assertLessEqual(set(done["fetched_from"]), {SOURCE, *FETCHERS} - {own})
        if "verify" in settings:  # all from the source
            self.assertEqual(done["fetched_from"], {SOURCE: size})
        else:  # whole blocks of 16 KiB, some of them twice
            self.assertGreaterEqual(sum(done["fetched_from"].values()), size)

    def check_part(self, rival):
        settings = self.ask(rival, "grid", "--fetchers", "1")[-1]
        with self.subTest("one file of it; SIGTERM ends both"):
            seed, extra = self.seed(rival, settings)
            manifest = self.manifest("model-2.safetensors")
            fetch = self.fetch(rival, 0, extra, manifest)
            fetch.event("ready")
            fetch.event("done")
            self.assert_copied(0, manifest)
            for running in (fetch, seed):
                running.popen.terminate()
                self.assertEqual(running.close(), 0)
                self.assert_gone(running)

    def check_spoiled(self, rival):
        """What is not what the manifest says is not `done`."""
        self.installed(rival)
        settings = self.ask(rival, "grid")[-1]
        self.assertTrue(settings["verify"])
        seed, extra = self.seed(rival, settings)
        fetch = self.fetch(rival, 0, extra, self.manifest(spoiled="below/config.json"))
        fetch.event("ready")
        fetch.event("end of output")
        self.assertIn("config.json is not what was sent", fetch.popen.stderr.read())
        self.assertEqual(fetch.close(), 1)
        seed.close()

    def test_libtorrent(self):
        self.check_rival("libtorrent")

    def test_curl(self):
        self.check_rival("curl")

    def test_aria2(self):
        self.check_rival("aria2")

    def test_rsync(self):
        self.check_rival("rsync")

    def test_digests_are_compared(self):
        for rival in ("curl", "aria2", "rsync"):
            with self.subTest(rival):
                self.check_spoiled(rival)

    def test_a_lone_fetcher_is_not_super_seeded(self):
        best = json.dumps(self.ask("libtorrent", "grid")[0])
        near = [self.ask("libtorrent", "refine", "--settings", best, "--fetchers", fetchers)
                for fetchers in ("1", "2")]
        self.assertEqual([sum(one["super_seeding"] for one in settings) for settings in near], [0, 1])

    def test_both_versions_of_torrents_are_tried_with_one_and_two_hashing_threads(self):
        grid = self.ask("libtorrent", "grid")
        self.assertEqual({one["torrent"] for one in grid}, {"v1", "v2"})
        tried = [*grid, *self.ask("libtorrent", "refine", "--settings", json.dumps(grid[0]))]
        self.assertLessEqual({1, 2}, {one["hashing_threads"] for one in tried})

    def test_settings_around_the_best_differ_from_it_in_one(self):
        best = self.ask("libtorrent", "grid")[-1]
        for settings in self.ask("libtorrent", "refine", "--settings", json.dumps(best)):
            self.assertEqual(settings.keys(), best.keys())
            self.assertEqual(sum(settings[name] != best[name] for name in best), 1, settings)

    def test_every_setting_of_libtorrent_works(self):
        self.installed("libtorrent")
        manifest, best = self.manifest(), self.ask("libtorrent", "grid")[0]
        for settings in self.ask("libtorrent", "refine", "--settings", json.dumps(best), "--fetchers", "1"):
            with self.subTest(settings):
                seed, extra = self.seed("libtorrent", settings)
                fetch = self.fetch("libtorrent", 0, extra, manifest)
                fetch.event("ready")
                fetch.event("done")
                self.assert_copied(0, manifest)
                for running in (fetch, seed):
                    self.assertEqual(running.close(), 0)
                shutil.rmtree(self.dir / "copy0")

    def test_every_tool_says_its_version(self):
        for rival, name in (("libtorrent", "libtorrent 2"), ("curl", "curl "), ("aria2", "aria2 "),
                            ("rsync", "rsync ")):
            with self.subTest(rival):
                self.installed(rival)
                said = subprocess.run([RIVALS / f"{rival}.py", "version"], capture_output=True, text=True,
                                      check=True).stdout
                self.assertTrue(said.startswith(name), said)
                self.assertEqual(said.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
