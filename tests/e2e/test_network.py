"""Peers on links of a limited rate, where what the source sends twice costs everybody time."""

import pathlib
import sys
import unittest

from skips import skip
from swarm import BIN, Process, SwarmTest, in_layers, peer_of, plain_bytes, tensor_bytes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from netbox import NetBox, NotPermitted  # noqa: E402  (found through the line above)

PORT = 7700


class LimitedTest(SwarmTest):
    """Host 0 is the seed, the others fetch."""

    def network(self, hosts, rate):
        try:
            return self.enterContext(NetBox(hosts, rate, rate))
        except NotPermitted as error:
            return skip(self, "network namespaces with limited links are not permitted here", str(error))

    def start_on(self, box, host, *arguments):
        """Starts a command with a state directory of its own, listening on its host's address."""
        process = Process([BIN / "shardswarm", *arguments, "--insecure",
                           "--listen", f"{box.address(host)}:{PORT}",
                           "--state", self.dir / f"state{host}"], self.env,
                          lambda command, **options: box.popen(host, command, **options))
        self.processes.append(process)
        return process

    def swarm(self, box, source, selections):
        """Fetches all at once, each on a host of its own; returns the `done` events and what share of
        the source its seed sent."""
        seed = self.start_on(box, 0, "seed", source)
        ticket = seed.wait_for(lambda p: p.lines and p.lines[-1].strip(), "the ticket")
        # They go on serving until all have ended, as machines of a cluster do.
        fetches = [self.start_on(box, host, "fetch", ticket, "--to", self.dir / f"copy{host}", "--json",
                                 "--no-reuse", "--linger", "forever", *selection)
                   for host, selection in enumerate(selections, 1)]
        done = [fetch.event("done") for fetch in fetches]
        sent = sum(peer["fetched_bytes"] for event in done for peer in event["peers"]
                   if peer["address"] == peer_of(ticket))
        copies = sent / (tensor_bytes(source, lambda name: True) + plain_bytes(source))
        total = sum(event["fetched_bytes"] for event in done)
        print(f"the seed sent {copies:.3f} copies; "
              f"{sum(event['duplicate_bytes'] for event in done) / total:.5f} of all bytes came twice")
        return done, copies

    def test_a_broadcast_leaves_the_seed_hardly_more_than_once(self):
        source = self.checkpoint(family="llama", size="24MiB", layers=8, files=2)
        box = self.network(4, "100mbit")
        done, copies = self.swarm(box, source, [()] * 3)
        for host, event in enumerate(done, 1):
            self.assert_same_tree(source, self.dir / f"copy{host}")
            verified = self.run_command("verify", self.dir / f"copy{host}", "--full")
            self.assertEqual(verified.code, 0, verified.stderr)
            self.assertEqual(event["fetched_bytes"] - event["duplicate_bytes"], event["wanted_bytes"])
        self.assertGreater(copies, 0.9)
        self.assertLessEqual(copies, 1.6)  # each for itself: 3

    def test_five_overlapping_shards_share_the_seeds_copies(self):
        layers = 16
        source = self.checkpoint(family="llama", size="64MiB", layers=layers, files=4)
        box = self.network(6, "200mbit")
        shards = [(0, 15), (0, 9), (5, 15), (3, 12), (0, 15)]
        _, copies = self.swarm(box, source, [("--layers", f"{first}-{last}") for first, last in shards])
        for host, (first, last) in enumerate(shards, 1):
            self.assert_has_tensors(source, self.dir / f"copy{host}", in_layers(first, last, layers))
        self.assertGreater(copies, 0.9)
        self.assertLessEqual(copies, 1.8)  # each for itself: 3.4


if __name__ == "__main__":
    unittest.main()
