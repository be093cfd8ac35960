"""Sources that cannot bring what is asked of them, and what both sides say of it."""

import json
import os
import signal
import socket
import unittest

from swarm import SwarmTest, id_of, peer_of, ticket_of

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
        ended = fetch.end()
        self.assertEqual(ended.code, 3)
        self.assertIn(f"a file of {peer_of(ticket)} changed or went", ended.stderr)
        warnings = [line for line in seed.kill().stderr.splitlines() if "warning: " in line]
        self.assertTrue(warnings)
        named = [line.split("warning: ")[1].split(" changed: ")[0] for line in warnings]
        self.assertEqual(len(set(named)), len(named), warnings)
        self.assertIn("run this command again", warnings[0])

    def test_a_source_of_another_model_is_named_soon(self):
        _, ticket = self.seed(self.checkpoint(size="4MiB", layers=2), *LOOPBACK)
        wrong = ticket_of("ab" * 32, peer_of(ticket))
        # It does not wait for the stall timeout, which is longer than a test waits for the end.
        ended = self.fetch_from(wrong, "--stall-timeout", "1h").end()
        self.assertEqual(ended.code, 3)
        self.assertIn(f"{peer_of(ticket)} does not have model {id_of(wrong)}, which the ticket names",
                      ended.stderr)

    def test_a_part_is_called_one_by_its_seed_and_by_who_wants_more(self):
        first, ticket = self.seed(self.checkpoint(size="16MiB", layers=8, files=4), *LOOPBACK)
        state = ("--state", self.dir / "state of the part")  # the other has the whole manifest
        self.fetch(ticket, self.dir / "part", *LOOPBACK, *state, "--layers", "0-3")
        first.kill()
        seed, part = self.seed(self.dir / "part", *LOOPBACK, *state)
        seed.wait_for(lambda p: any("serving" in line for line in p.errors), "the seed to serve")
        said = "".join(seed.errors)
        self.assertIn("holds a part of the model", said)
        self.assertIn(f"shardswarm fetch {part} ./part --layers 0-3\n", said)
        ended = self.fetch_from(part, "--stall-timeout", "2s", "--state", self.dir / "elsewhere").end()
        self.assertEqual(ended.code, 3)
        self.assertIn(f"{peer_of(part)} holds a part of the model", ended.stderr)
        self.fetch(part, self.dir / "same", *LOOPBACK, "--layers", "0-3")

    def test_a_source_that_ends_is_named_and_can_be_gone_on_with(self):
        source = self.checkpoint(size="16MiB", layers=8)
        seed, ticket = self.seed(source, *LOOPBACK, "--upload-limit", "2MiB")
        fetch = self.fetch_from(ticket, "--stall-timeout", "2s")
        fetch.wait_for(lambda p: any(json.loads(line).get("present_bytes", 0) >= 1 << 20
                                     for line in p.lines), "something to go on with")
        seed.signal(signal.SIGTERM)
        ended = fetch.end()
        self.assertEqual(ended.code, 3)
        self.assertRegex(ended.stderr, peer_of(ticket) + r" was lost \d+ s ago: its node was stopped")
        again = self.fetch_from(ticket, "--stall-timeout", "1s").end()
        self.assertIn("no peer could be reached", again.stderr)
        self.assertIn("run the same command again to resume", again.stderr)

    def test_who_waits_for_a_source_says_for_how_long(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            nobody = "127.0.0.1:%d" % free.getsockname()[1]
        fetch = self.start("fetch", ticket_of("ab" * 32, nobody), self.dir / "copy", *LOOPBACK,
                           "--wait", "30m", "--stall-timeout", "2s")
        line = fetch.wait_for(lambda p: next((e for e in p.errors if "waiting" in e), None), "a status")
        self.assertRegex(line, r"waiting for the source for another 29:5\d \(last: .*" + nobody)
        fetch.kill()


if __name__ == "__main__":
    unittest.main()
