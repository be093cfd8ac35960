"""Sources that cannot bring what is asked of them, and what both sides say of it."""

import os
import unittest

from swarm import SwarmTest

LOOPBACK = ("--listen", "127.0.0.1:0")


class SourcesTest(SwarmTest):
    def fetch_from(self, ticket, *arguments):
        return self.start_fetch(ticket, self.dir / "copy", *LOOPBACK, *arguments)

    def test_a_file_that_changes_is_named_once_by_the_seed(self):
        source = self.checkpoint(size="16MiB", layers=8, files=4)
        seed, ticket = self.seed(source, *LOOPBACK, "--upload-limit", "2MiB")
        fetch = self.fetch_from(ticket, "--stall-timeout", "2s")
        fetch.wait_for(lambda p: any('"phase":"fetching"' in line for line in p.lines), "progress")
        for file in source.glob("*.safetensors"):
            os.utime(file)
        self.assertEqual(fetch.end().code, 3)
        warnings = [line for line in seed.kill().stderr.splitlines() if "warning: " in line]
        self.assertTrue(warnings)
        named = [line.split("warning: ")[1].split(" changed: ")[0] for line in warnings]
        self.assertEqual(len(set(named)), len(named), warnings)
        self.assertIn("run this command again", warnings[0])


if __name__ == "__main__":
    unittest.main()
