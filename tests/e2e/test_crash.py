"""Killed, interrupted, full: nothing is lost, and it goes on from where it was."""

import json
import random
import signal
import subprocess
import time
import unittest

from skips import skip
from swarm import Proxy, SwarmTest, can_mount, peer_of, through, tree

MIB = 1 << 20


class KillTest(SwarmTest):
    def recorded_bytes(self, directory):
        """What the ledger vouches for; it must be right."""
        ended = self.run_command("verify", directory, "--full", "--json")
        if ended.code == 1:  # killed before there was a ledger
            return 0
        self.assertEqual(ended.code, 0, ended.stderr + ended.stdout)
        return json.loads(ended.stdout)["bytes"]

    def test_killed_ten_times_it_ends_right_and_fetches_little_again(self):
        source = self.checkpoint(size="384MiB", layers=16, files=3)
        total = sum(path.stat().st_size for path in source.iterdir())
        _, ticket = self.seed(source)
        proxy = Proxy(peer_of(ticket), bytes_per_second=256 * MIB)
        self.addCleanup(proxy.close)
        slow = through(ticket, proxy)
        chance = random.Random(7)
        present, worst = 0, 0
        for _ in range(10):
            before = proxy.down
            fetch = self.start_fetch(slow, self.dir / "copy")
            # At a random moment: after so many more bytes, wherever that finds it.
            goal = before + chance.randrange(total // 8)
            while proxy.down < goal and fetch.popen.poll() is None:
                time.sleep(0.001)
            fetch.kill()
            received = proxy.down - before
            kept = self.recorded_bytes(self.dir / "copy") - present
            present += kept
            worst = max(worst, received - kept)
        ended = self.start_fetch(slow, self.dir / "copy").end()
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assert_same_tree(source, self.dir / "copy")
        again = proxy.down - total
        print(f"10 kills: {again / MIB:.1f} MiB fetched again in all, at most {worst / MIB:.1f} at once")
        self.assertLessEqual(worst, 64 * MIB)

    def test_interrupted_it_says_so_and_resumes(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            source = self.checkpoint(f"source{code}", size="96MiB", layers=8)
            _, ticket = self.seed(source)
            proxy = Proxy(peer_of(ticket), bytes_per_second=32 * MIB)
            self.addCleanup(proxy.close)
            copy = self.dir / f"copy{code}"
            fetch = self.start_fetch(through(ticket, proxy), copy)
            fetch.wait_for(lambda p: proxy.down > 24 * MIB, "some bytes")
            self.assertEqual(fetch.signal(number).code, code)
            self.assertFalse(any(path.suffix == ".safetensors" and path.stat().st_size and
                                 tree(copy)[path.name] != tree(source)[path.name]
                                 for path in copy.iterdir() if path.is_file()))
            done = self.fetch(ticket, copy)
            self.assertGreater(done["reused_bytes"], 0)
            self.assert_same_tree(source, copy)

    def test_a_complete_directory_needs_no_peer(self):
        source = self.checkpoint(size="8MiB", layers=4)
        seed, ticket = self.seed(source)
        first = self.fetch(ticket, self.dir / "copy", "--layers", "1-2")
        seed.kill()
        again = self.fetch(ticket, self.dir / "copy", "--layers", "1-2")
        self.assertEqual(again["reused_bytes"], first["wanted_bytes"])
        self.assertEqual(again["fetched_bytes"], 0)

    def test_no_half_file_stands_under_its_final_name(self):
        source = self.checkpoint(size="64MiB", layers=8, files=4)
        _, ticket = self.seed(source)
        proxy = Proxy(peer_of(ticket), bytes_per_second=64 * MIB)
        self.addCleanup(proxy.close)
        fetch = self.start_fetch(through(ticket, proxy), self.dir / "copy")
        wanted = tree(source)
        while fetch.popen.poll() is None and proxy.down < 24 * MIB:
            time.sleep(0.02)
        fetch.kill()
        self.assertGreater(proxy.down, 16 * MIB)  # there is something that could be half
        named = tree(self.dir / "copy")
        self.assertTrue(named.items() < wanted.items(), set(named))


class DiskTest(SwarmTest):
    def setUp(self):
        super().setUp()
        if not can_mount():
            skip(self, "mounting a tmpfs needs root with CAP_SYS_ADMIN")

    def tmpfs(self, name, size):
        place = self.dir / name
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], check=False)
        return place

    def test_without_space_it_says_so_before_fetching(self):
        source = self.checkpoint(size="48MiB", layers=4)
        _, ticket = self.seed(source)
        place = self.tmpfs("small", "16m")
        for io in ("uring", "posix"):
            ended = self.start_fetch(ticket, place / "copy", "--io", io).end()
            self.assertEqual(ended.code, 5, ended.stderr)
            self.assertIn("not enough space", ended.stderr)
            self.assertIn("MiB", ended.stderr)
        ended = self.start_fetch(ticket, place / "copy", "--dry-run").end()
        plan, error = (json.loads(line) for line in ended.stdout.splitlines())
        self.assertEqual((ended.code, error["event"], error["code"]), (5, "error", "no-space"))
        self.assertGreater(plan["needed_bytes"], plan["wanted_bytes"])
        self.assertLess(plan["free_bytes"], 16 * MIB + 1)
        self.assertIn("not enough space", ended.stderr)
        self.assertRegex(ended.stderr, r"needs \d+\.\d+ MiB, \d+\.\d+ MiB are free")
        ended = self.run_command("fetch", ticket, place / "part", "--layers", "1", "--dry-run")
        self.assertEqual((ended.code, ended.stderr), (0, ""))
        part = self.fetch(ticket, place / "part", "--layers", "1")
        self.assertGreater(part["wanted_bytes"], 0)

    def test_a_disk_that_fills_up_meanwhile_loses_nothing(self):
        source = self.checkpoint(size="96MiB", layers=8)
        _, ticket = self.seed(source)
        proxy = Proxy(peer_of(ticket), bytes_per_second=64 * MIB)
        self.addCleanup(proxy.close)
        place = self.tmpfs("disk", "160m")
        fetch = self.start_fetch(through(ticket, proxy), place / "copy", "--layers", "0-6")
        fetch.wait_for(lambda p: proxy.down > 16 * MIB, "some bytes")
        filler = place / "filler"
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(b"\0" * MIB)
            except OSError:
                pass
        ended = fetch.end()
        self.assertIn(ended.code, (0, 5), ended.stderr)  # preallocated space is ours
        filler.unlink()
        done = self.fetch(ticket, place / "copy", "--layers", "0-6")
        self.assertEqual(done["reused_bytes"] + done["fetched_bytes"] - done["duplicate_bytes"],
                         done["wanted_bytes"])

    def test_a_state_directory_without_space_fails_cleanly(self):
        source = self.checkpoint(size="8MiB", layers=2)
        place = self.tmpfs("state-disk", "4k")
        ended = self.run_command("index", source, "--state", place / "state")
        self.assertEqual(ended.code, 5, ended.stderr)
        self.assertEqual(ended.stdout, "")


if __name__ == "__main__":
    unittest.main()
