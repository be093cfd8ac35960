"""The program of examples/fetch_shard beside nodes of the command."""

import os
import pathlib
import subprocess
import unittest

from swarm import SwarmTest, in_layers

PROGRAM = pathlib.Path(os.environ["SHARDSWARM_BIN"]) / "fetch_shard"


class EmbeddingTest(SwarmTest):
    def fetch_shard(self, *arguments):
        return subprocess.run([PROGRAM, *map(str, arguments)], env=self.env, text=True,
                              capture_output=True, timeout=60)

    def test_it_fetches_layers(self):
        source = self.checkpoint(size="16MiB", layers=4)
        _, ticket = self.seed(source)
        ended = self.fetch_shard(ticket, self.dir / "copy", "1-2")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("from 1 peers", ended.stdout)
        self.assertIn("bytes, 1 peers", ended.stderr)
        self.assert_has_tensors(source, self.dir / "copy", in_layers(1, 2, 4))

    def test_it_says_what_is_wrong(self):
        source = self.checkpoint(size="4MiB", layers=2)
        _, ticket = self.seed(source)
        for arguments, code, words in (
                ((), 2, "usage: fetch_shard TICKET"),
                (("no ticket", self.dir / "copy", "0-1"), 1, "ticket"),
                ((ticket, self.dir / "copy", "0-9"), 1, "layers 0-9"),
                ((ticket, self.dir / "copy", "last"), 1, "last")):
            with self.subTest(words):
                ended = self.fetch_shard(*arguments)
                self.assertEqual(ended.returncode, code, ended.stderr)
                self.assertIn(words, ended.stderr)


if __name__ == "__main__":
    unittest.main()
