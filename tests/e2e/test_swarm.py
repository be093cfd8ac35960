"""Several peers at once: who sends how much, and what happens when one goes."""

import unittest

from swarm import Proxy, SwarmTest, id_of, in_layers, peer_of, plain_bytes, tensor_bytes, through, ticket_of

LAYERS = 16
MODEL = dict(family="llama", size="160MiB", layers=LAYERS, files=4)


class ManyFetchersTest(SwarmTest):
    def test_five_overlapping_shards_are_each_complete(self):
        source = self.checkpoint(**MODEL)
        seed, ticket = self.seed(source)
        shards = [(0, 15), (0, 9), (5, 15), (3, 12), (0, 15)]
        # They go on serving until all have ended, as machines of a cluster do.
        fetches = [self.start_fetch(ticket, self.dir / f"copy{i}", "--layers", f"{first}-{last}",
                                    "--linger", "forever")
                   for i, (first, last) in enumerate(shards)]
        done = [fetch.event("done") for fetch in fetches]
        for i, (first, last) in enumerate(shards):
            names = in_layers(first, last, LAYERS)
            self.assert_has_tensors(source, self.dir / f"copy{i}", names)
            self.assertEqual(done[i]["wanted_bytes"], tensor_bytes(source, names) + plain_bytes(source))
        self.assertEqual(seed.popen.poll(), None)

    def test_fetchers_end_after_the_seed_was_killed(self):
        source = self.checkpoint(**MODEL)
        seed, ticket = self.seed(source)
        low = self.start_fetch(ticket, self.dir / "low", "--layers", "0-7", "--linger", "forever")
        high = self.start_fetch(ticket, self.dir / "high", "--layers", "8-15", "--linger", "forever")
        ends = [fetch.event("done") for fetch in (low, high)]
        self.assertTrue(all(ends))
        seed.kill()  # every byte has left it once
        addresses = [peer_address(fetch) for fetch in (low, high)]
        late = self.fetch(ticket_of(id_of(ticket), *addresses), self.dir / "late")
        self.assert_same_tree(source, self.dir / "late")
        self.assertEqual(late["duplicate_bytes"], 0)
        self.assertEqual(len(late["peers"]), 2)

    def test_the_seed_dies_in_the_middle_and_comes_back(self):
        source = self.checkpoint(**MODEL)
        seed, ticket = self.seed(source)
        proxy = Proxy(peer_of(ticket), bytes_per_second=64 << 20)  # slow enough to be in the middle
        self.addCleanup(proxy.close)
        fetch = self.start_fetch(through(ticket, proxy), self.dir / "copy", "--stall-timeout", "60")
        fetch.wait_for(lambda p: proxy.down > 16 << 20, "the first bytes")
        seed.kill()
        self.seed(source, "--listen", peer_of(ticket))
        ended = fetch.end()
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assert_same_tree(source, self.dir / "copy")

    def test_peers_find_each_other_through_the_seed(self):
        source = self.checkpoint(**MODEL)
        _, ticket = self.seed(source)
        fetches = [self.start_fetch(ticket, self.dir / f"copy{i}", "--linger", "forever")
                   for i in range(2)]
        for fetch in fetches:
            done = fetch.event("done")
            self.assertEqual(len(done["peers"]), 2)
            self.assertEqual(done["fetched_bytes"] - done["duplicate_bytes"], done["wanted_bytes"])


def peer_address(fetch):
    """The address that a lingering fetch listens on."""
    return fetch.event("done")["addresses"][0]


if __name__ == "__main__":
    unittest.main()
