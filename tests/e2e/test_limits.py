"""Rate limits between real processes. How fast is judged in virtual time (tests/node); here, that
the flags reach the core and that sockets wake up again."""

import unittest

from swarm import SwarmTest, in_layers

LAYERS = 8
FLAGS = ("--upload-limit", "--download-limit", "--peer-upload-limit", "--peer-download-limit")


class LimitsTest(SwarmTest):
    def test_all_comes_under_each_limit(self):
        source = self.checkpoint(family="llama", size="8MiB", layers=LAYERS, files=2)
        _, plain = self.seed(source)
        for flag in FLAGS:
            seeding = flag in ("--upload-limit", "--peer-upload-limit")
            ticket = self.seed(source, flag, "64mbit")[1] if seeding else plain
            copy = self.dir / flag.strip("-")
            done = self.fetch(ticket, copy, *(() if seeding else (flag, "8MB")))
            self.assert_same_tree(source, copy)
            self.assertEqual(done["fetched_bytes"], done["wanted_bytes"], flag)

    def test_two_fetches_share_a_limited_seed(self):
        source = self.checkpoint(family="llama", size="16MiB", layers=LAYERS, files=2)
        _, ticket = self.seed(source, "--upload-limit", "4MiB")
        halves = [(0, 3), (4, 7)]
        fetches = [self.start_fetch(ticket, self.dir / f"copy{i}", "--layers", f"{first}-{last}")
                   for i, (first, last) in enumerate(halves)]
        for i, fetch in enumerate(fetches):
            done = fetch.end().done
            self.assertEqual(done["fetched_bytes"] - done["duplicate_bytes"], done["wanted_bytes"])
            self.assert_has_tensors(source, self.dir / f"copy{i}", in_layers(*halves[i], LAYERS))

    def test_a_limited_fetch_leaves_the_line_to_others(self):
        source = self.checkpoint(family="llama", size="64MiB", layers=LAYERS, files=2)
        _, ticket = self.seed(source)
        # Of 64 MiB at 16 KiB a second there is much left when another has all.
        slow = self.start_fetch(ticket, self.dir / "slow", "--download-limit", "16KiB")
        slow.event("progress")
        self.fetch(ticket, self.dir / "fast")
        self.assert_same_tree(source, self.dir / "fast")
        self.assertIsNone(slow.popen.poll())
        came = slow.kill().events[-1]
        self.assertEqual(came["event"], "progress")
        self.assertLess(came["fetched_bytes"], 32 << 20)

    def test_limits_that_are_none(self):
        for flag in FLAGS:
            for value in ("0", "-5MB", "fast", "10", "15KiB", "20parsecs", "MB", "1.5.2MB",
                          "99999999999GB", ""):
                ended = self.run_command("fetch", "0" * 64, "--to", self.dir / "copy", flag, value)
                self.assertEqual(ended.code, 2, (flag, value))
                self.assertIn(flag, ended.stderr)
        ended = self.run_command("seed", self.dir, "--upload-limit", "100")
        self.assertIn("at least 16KiB, or off", ended.stderr)


if __name__ == "__main__":
    unittest.main()
