"""Compact directories read by numpy, as programs read them."""

import json
import pathlib
import subprocess
import unittest

from swarm import SwarmTest

READER = pathlib.Path(__file__).with_name("numpy_reader.py")
PYTHON = "/usr/bin/python3"  # Debian's: the one that python3-numpy is for


class NumpyTest(SwarmTest):
    def check(self, source, copy):
        ended = subprocess.run([PYTHON, READER, source, copy], capture_output=True, text=True,
                               check=False)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertGreater(int(ended.stdout), 0)

    def test_numpy_agrees_with_compact_files(self):
        for name, options, selection in (
                ("int8", dict(model="llama-3.1-8b-int8", divide=32, layers=4), ("--layers", "1-2")),
                ("fp8", dict(model="deepseek-v3", divide=32, layers=4, experts=8),
                 ("--layers", "3", "--experts", "2-5")),
                ("mlx", dict(model="qwen3-30b-a3b-mlx-4bit", divide=16, layers=3, experts=8),
                 ("--layers", "1", "--experts", "2-5")),
                ("slices", dict(model="llama-3.1-8b", divide=16, layers=3),
                 ("--layers", "0", "--slice", "*.q_proj.weight:1/4", "--slice", "*embed_tokens*:0/2"))):
            with self.subTest(name):
                source = self.checkpoint(name, **options)
                seed, ticket = self.seed(source)
                self.fetch(ticket, self.dir / (name + "-copy"), *selection)
                self.check(source, self.dir / (name + "-copy"))
                seed.kill()

    def test_the_reader_notices_another_byte(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=32, layers=3)
        _, ticket = self.seed(source)
        self.fetch(ticket, self.dir / "copy", "--layers", "1")
        self.check(source, self.dir / "copy")
        shard = json.loads((self.dir / "copy/shard.json").read_text())
        path = self.dir / "copy" / shard["files"][0]["path"]
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with self.assertRaises(AssertionError):
            self.check(source, self.dir / "copy")


if __name__ == "__main__":
    unittest.main()
