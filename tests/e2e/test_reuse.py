"""What is on this machine already, or with peers that hold another model, is not fetched from the
seed: fine-tunes, and revisions with other files."""

import contextlib
import os
import shutil
import unittest

from reader import check_shard, read_model, wanted_of
from swarm import Proxy, SwarmTest, id_of, in_layers, peer_of, read_header, tensor_bytes, through

LAYERS = 32
MODEL = dict(model="llama-3.1-8b", divide=16, layers=LAYERS, files=4)
TUNED = "model.layers.[369].*"  # 3 of 32 layers
MIB = 1 << 20


def tuned(name):
    return name.split(".")[2] in "369" if name.startswith("model.layers.") else False


class ReuseTest(SwarmTest):
    @contextlib.contextmanager
    def machine(self, name):
        """What is started inside has a state directory of its own, as on another machine."""
        before = self.env
        self.env = {**before, "XDG_STATE_HOME": str(self.dir / ("state-" + name))}
        try:
            yield
        finally:
            self.env = before

    def seed_elsewhere(self, directory):
        with self.machine("of-" + directory.name):
            return self.seed(directory)[1]

    def changed_plain_bytes(self, old, new):
        return sum(path.stat().st_size for path in new.iterdir()
                   if path.suffix != ".safetensors"
                   and (not (old / path.name).exists()
                        or (old / path.name).read_bytes() != path.read_bytes()))

    def overwrite_quietly(self, path, names):
        """Other bytes in these tensors; inode, size and time as before."""
        stat = path.stat()
        base, header = read_header(path)
        with open(path, "r+b") as file:
            for name, entry in header.items():
                if names(name):
                    file.seek(base + entry["data_offsets"][0])
                    file.write(b"\xa5" * 1000)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def check_fetched(self, done, needed, source, copy):
        self.assertLessEqual(done["fetched_bytes"] - done["duplicate_bytes"], 1.01 * needed)
        self.assertEqual(done["copied_bytes"] + done["fetched_bytes"] - done["duplicate_bytes"],
                         done["wanted_bytes"])
        self.assert_same_tree(source, copy)


class LocalTest(ReuseTest):
    def test_a_fine_tune_beside_its_base(self):
        base = self.checkpoint("base", **MODEL)
        tune = self.checkpoint("tune", **MODEL, change=TUNED)
        needed = tensor_bytes(tune, tuned) + self.changed_plain_bytes(base, tune)
        ticket = self.seed_elsewhere(tune)
        self.assertEqual(self.run_command("index", base).code, 0)
        done = self.fetch(ticket, self.dir / "copy", reuse=True)
        self.check_fetched(done, needed, tune, self.dir / "copy")
        # A part of it costs what was changed of that part.
        part = self.fetch(ticket, self.dir / "part", "--layers", "5-8", reuse=True)
        self.assertEqual(part["fetched_bytes"], 0)  # the whole copy is on this machine by now
        check_shard(self, tune, self.dir / "part", wanted_of(read_model(tune), in_layers(5, 8, LAYERS)))
        again = self.fetch(ticket, self.dir / "again", reuse=False)
        self.assertEqual(again["fetched_bytes"], again["wanted_bytes"])
        self.assertEqual(again["copied_bytes"], 0)

    def test_a_base_that_was_fetched_in_part(self):
        base = self.checkpoint("base", **MODEL)
        tune = self.checkpoint("tune", **MODEL, change=TUNED)
        self.fetch(self.seed_elsewhere(base), self.dir / "part", "--layers", "4-10")
        done = self.fetch(self.seed_elsewhere(tune), self.dir / "copy", "--layers", "2-8", reuse=True)
        missing = lambda name: in_layers(2, 8, LAYERS)(name) and (
            tuned(name) or not in_layers(4, 10, LAYERS)(name))
        self.assertEqual(done["fetched_bytes"],
                         tensor_bytes(tune, missing) + self.changed_plain_bytes(base, tune))
        check_shard(self, tune, self.dir / "copy", wanted_of(read_model(tune), in_layers(2, 8, LAYERS)))

    def test_a_revision_in_another_order_and_other_files(self):
        base = self.checkpoint("base", **MODEL)
        revision = self.checkpoint("revision", **{**MODEL, "files": 3}, order="mlx")
        self.assertEqual(self.run_command("index", base).code, 0)
        done = self.fetch(self.seed_elsewhere(revision), self.dir / "copy", reuse=True)
        self.check_fetched(done, self.changed_plain_bytes(base, revision), revision, self.dir / "copy")

    def test_both_changes_at_once(self):
        base = self.checkpoint("base", **MODEL)
        tune = self.checkpoint("tune", **{**MODEL, "files": 5}, order="mlx", change=TUNED)
        needed = tensor_bytes(tune, tuned) + self.changed_plain_bytes(base, tune)
        self.assertEqual(self.run_command("index", base).code, 0)
        done = self.fetch(self.seed_elsewhere(tune), self.dir / "copy", reuse=True)
        self.check_fetched(done, needed, tune, self.dir / "copy")

    def test_sources_that_changed_or_went(self):
        base = self.checkpoint("base", **MODEL)
        tune = self.checkpoint("tune", **MODEL, change=TUNED)
        ticket = self.seed_elsewhere(tune)
        needed = tensor_bytes(tune, tuned) + self.changed_plain_bytes(base, tune)
        self.assertEqual(self.run_command("index", base).code, 0)
        # Only the hash of what was copied can tell.
        damaged = lambda name: ".20." in name and "_proj" in name
        for path in base.glob("*.safetensors"):
            self.overwrite_quietly(path, damaged)
        done = self.fetch(ticket, self.dir / "quiet", reuse=True)
        self.check_fetched(done, needed + tensor_bytes(tune, damaged), tune, self.dir / "quiet")
        shutil.rmtree(self.dir / "quiet")
        # A file that is gone, and one that was touched: what is left still counts.
        files = sorted(base.glob("*.safetensors"))
        files[0].unlink()
        os.truncate(files[1], files[1].stat().st_size // 2)
        done = self.fetch(ticket, self.dir / "gone", reuse=True)
        self.assert_same_tree(tune, self.dir / "gone")
        self.assertGreater(done["copied_bytes"], 0)
        shutil.rmtree(self.dir / "gone")
        shutil.rmtree(base)
        done = self.fetch(ticket, self.dir / "nothing", reuse=True)
        self.assertEqual(done["copied_bytes"], 0)
        self.assert_same_tree(tune, self.dir / "nothing")


class PeerTest(ReuseTest):
    """The fetcher's machine has nothing; a peer has the base alone."""

    def from_peers(self, done):
        return {peer["address"]: peer["fetched_bytes"] for peer in done["peers"]}

    def seeded(self, **changes):
        base = self.checkpoint("base", **MODEL)
        tune = self.checkpoint("tune", **{**MODEL, **changes}, change=TUNED)
        base_ticket, ticket = self.seed_elsewhere(base), self.seed_elsewhere(tune)
        self.assertNotEqual(id_of(base_ticket), id_of(ticket))
        return base, tune, base_ticket, ticket

    def test_a_peer_with_the_base_sends_what_is_shared(self):
        base, tune, base_ticket, ticket = self.seeded(order="mlx", files=3)
        proxy = Proxy(peer_of(ticket), bytes_per_second=8 * MIB)
        self.addCleanup(proxy.close)
        with self.machine("fetcher"):
            done = self.fetch(through(ticket, proxy), self.dir / "copy", "--peer", peer_of(base_ticket))
        self.assert_same_tree(tune, self.dir / "copy")
        sent = self.from_peers(done)[peer_of(base_ticket)]
        shared = tensor_bytes(tune, lambda name: not tuned(name))
        print(f"the base's node sent {sent / shared:.3f} of what both models share")
        self.assertGreater(sent, 0.8 * shared)
        # At the end what the slow seed still owes is asked of the other, too.
        self.assertLessEqual(done["duplicate_bytes"], 0.05 * done["wanted_bytes"])

    def test_two_peers_of_other_models_and_a_part(self):
        base, tune, base_ticket, ticket = self.seeded()
        other = self.checkpoint("other", **MODEL, seed=2)
        other_ticket = self.seed_elsewhere(other)
        proxy = Proxy(peer_of(ticket), bytes_per_second=4 * MIB)
        self.addCleanup(proxy.close)
        with self.machine("fetcher"):
            done = self.fetch(through(ticket, proxy), self.dir / "copy", "--layers", "8-23", "--peer",
                              peer_of(base_ticket), "--peer", peer_of(other_ticket))
        names = in_layers(8, 23, LAYERS)
        check_shard(self, tune, self.dir / "copy", wanted_of(read_model(tune), names))
        sent = self.from_peers(done)
        self.assertGreater(sent[peer_of(base_ticket)],
                           0.8 * tensor_bytes(tune, lambda name: names(name) and not tuned(name)))
        self.assertLess(sent.get(peer_of(other_ticket), 0), 1 * MIB)  # but for plain files

    def test_what_changed_at_the_peer_is_not_taken(self):
        base, tune, base_ticket, ticket = self.seeded()
        damaged = lambda name: ".2" in name and "mlp" in name
        for path in base.glob("*.safetensors"):
            self.overwrite_quietly(path, damaged)
        proxy = Proxy(peer_of(ticket), bytes_per_second=16 * MIB)
        self.addCleanup(proxy.close)
        with self.machine("fetcher"):
            self.fetch(through(ticket, proxy), self.dir / "copy", "--peer", peer_of(base_ticket))
        self.assert_same_tree(tune, self.dir / "copy")

    def test_the_base_alone_is_not_enough(self):
        base, tune, base_ticket, ticket = self.seeded()
        with self.machine("fetcher"):
            ended = self.start_fetch(id_of(ticket), self.dir / "copy", "--peer",
                                     peer_of(base_ticket), "--stall-timeout", "1").end()
        self.assertEqual(ended.code, 3, ended.stderr)
        self.assertFalse((self.dir / "copy" / "config.json").exists())


if __name__ == "__main__":
    unittest.main()
