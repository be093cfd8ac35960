"""A whole checkpoint arrives bit for bit, a part exactly as selected."""

import json
import os
import pathlib
import shutil
import unittest

from skips import skip
from swarm import SwarmTest, id_of, in_layers, plain_bytes, tensor_bytes, tensors, tree

SHAPES = {
    "llama": dict(family="llama", size="40MiB", layers=8, files=3),
    "llama tied, one file": dict(family="llama", size="24MiB", layers=6, files=1, tied=True),
    "llama in MLX order": dict(family="llama", size="24MiB", layers=12, files=2, order="mlx"),
    "mixtral": dict(family="mixtral", size="40MiB", layers=4, experts=8, files=4),
    # Hidden size 1792: its norms have 3.5 KB, as the scales of DeepSeek-V3.
    "llama with norms of 3.5 KB": dict(family="llama", size="82MiB", layers=1, files=2),
    "deepseek": dict(family="deepseek", size="64MiB", layers=3, experts=32, files=3),
}


class WholeTest(SwarmTest):
    def test_every_shape_is_bit_identical(self):
        for number, (name, options) in enumerate(SHAPES.items()):
            with self.subTest(name):
                source = self.checkpoint(f"source{number}", **options)
                seed, ticket = self.seed(source)
                done = self.fetch(ticket, self.dir / f"copy{number}")
                self.assert_same_tree(source, self.dir / f"copy{number}")
                self.assertEqual(done["duplicate_bytes"], 0)
                self.assertEqual(done["fetched_bytes"], done["wanted_bytes"])
                seed.kill()

    def test_the_shapes_have_the_small_tensors(self):
        source = self.checkpoint(**SHAPES["deepseek"])
        self.assertLess(tensor_bytes(source, lambda name: "scale_inv" in name), 1 << 20)
        self.assertGreater(sum(1 for _ in source.glob("*.safetensors")), 1)
        norms = self.checkpoint("norms", **SHAPES["llama with norms of 3.5 KB"])
        self.assertEqual(tensor_bytes(norms, lambda name: name == "model.norm.weight"), 3584)

    def test_a_hub_snapshot_of_links(self):
        source = self.checkpoint("blobs", size="8MiB", layers=2, files=2)
        snapshot = self.dir / "models--org--name/snapshots/abc"
        snapshot.mkdir(parents=True)
        for path in source.iterdir():
            (snapshot / path.name).symlink_to(path)
        _, ticket = self.seed(snapshot)
        self.fetch(ticket, self.dir / "copy")
        self.assertEqual(tree(source), tree(self.dir / "copy"))

    def test_fetched_directory_seeds_the_same_id(self):
        source = self.checkpoint(size="16MiB", layers=4)
        first, ticket = self.seed(source)
        self.fetch(ticket, self.dir / "copy")
        self.fetch(ticket, self.dir / "part", "--layers", "0-1")
        first.kill()
        _, again = self.seed(self.dir / "copy")
        self.assertEqual(id_of(again), id_of(ticket))
        self.fetch(again, self.dir / "third")
        self.assert_same_tree(source, self.dir / "third")
        _, part = self.seed(self.dir / "part")
        self.assertEqual(id_of(part), id_of(ticket))
        self.fetch(part, self.dir / "fourth", "--layers", "1")
        self.assert_has_tensors(source, self.dir / "fourth", in_layers(1, 1, 4))

    def test_other_weight_formats_come_with_everything_or_when_named(self):
        source = self.checkpoint(size="4MiB", layers=2)
        (source / "model.gguf").write_bytes(b"gguf" * 1000)
        (source / "onnx").mkdir()
        (source / "onnx/model.onnx").write_bytes(b"onnx" * 1000)
        _, ticket = self.seed(source)
        self.fetch(ticket, self.dir / "whole")
        self.assert_same_tree(source, self.dir / "whole")
        self.fetch(ticket, self.dir / "part", "--layers", "0-1")
        self.assertFalse((self.dir / "part/model.gguf").exists())
        self.fetch(ticket, self.dir / "with", "--layers", "0-1", "--files", "*.gguf")
        self.assertTrue((self.dir / "with/model.gguf").exists())
        self.assertFalse((self.dir / "with/onnx").exists())


class RealTest(SwarmTest):
    """Checkpoints that somebody trained: those beside the repository, in ../shared/checkpoints, or the
    one that SHARDSWARM_REAL_CHECKPOINT names."""

    def test_real_checkpoints(self):
        named = os.environ.get("SHARDSWARM_REAL_CHECKPOINT")
        beside = pathlib.Path(__file__).resolve().parents[3] / "shared" / "checkpoints"
        places = [pathlib.Path(named)] if named else sorted(p for p in beside.glob("*") if p.is_dir())
        if not places:
            skip(self, "no real checkpoint here: name one with SHARDSWARM_REAL_CHECKPOINT")
        for place in places:
            with self.subTest(place.name):
                seed, ticket = self.seed(place)
                copy, part = self.dir / place.name, self.dir / (place.name + "-part")
                done = self.fetch(ticket, copy)
                self.assert_same_tree(place, copy)
                some = sorted(tensors(place))[0]
                partial = self.fetch(ticket, part, "--tensors", some)
                self.assertLess(partial["wanted_bytes"], done["wanted_bytes"])
                self.assert_has_tensors(place, part, lambda name: name == some)
                layered = self.start_fetch(ticket, self.dir / "layers", "--layers", "0-0").end()
                self.assertIn(layered.code, (0, 2))  # not every architecture numbers its layers
                seed.kill()


class PartTest(SwarmTest):
    def check_every_range(self, options):
        source = self.checkpoint(**options)
        _, ticket = self.seed(source)
        layers, worst, duplicates = options["layers"], 0.0, 0
        for first in range(layers):
            for last in range(first, layers):
                copy = self.dir / f"copy-{first}-{last}"
                done = self.fetch(ticket, copy, "--layers", f"{first}-{last}")
                names = in_layers(first, last, layers, options.get("tied", False))
                self.assert_has_tensors(source, copy, names)
                self.assertEqual(done["wanted_bytes"],
                                 tensor_bytes(source, names) + plain_bytes(source))
                ratio = (done["fetched_bytes"] - done["duplicate_bytes"]) / done["wanted_bytes"]
                worst = max(worst, ratio)
                duplicates += done["duplicate_bytes"]
                shutil.rmtree(copy)
        self.assertLessEqual(worst, 1.001)
        print(f"{options['family']}: fetched / wanted <= {worst:.6f}, {duplicates} bytes came twice")

    def test_every_range_of_llama(self):
        self.check_every_range(SHAPES["llama"])

    def test_every_range_of_mixtral(self):
        self.check_every_range(SHAPES["mixtral"])

    def test_every_range_of_a_tied_model(self):
        self.check_every_range(SHAPES["llama tied, one file"])

    def test_stages_cover_the_model(self):
        source = self.checkpoint(**SHAPES["llama in MLX order"])
        _, ticket = self.seed(source)
        wanted = 0
        for stage in (1, 2, 3):
            done = self.fetch(ticket, self.dir / f"stage{stage}", "--stage", f"{stage}/3")
            wanted += done["wanted_bytes"]
        whole = self.fetch(ticket, self.dir / "whole")["wanted_bytes"]
        self.assertEqual(wanted - 2 * plain_bytes(source), whole)

    def test_globs_alone_bring_nothing_else(self):
        source = self.checkpoint(**SHAPES["llama"])
        _, ticket = self.seed(source)
        done = self.fetch(ticket, self.dir / "copy", "--tensors", "model.layers.[13].mlp.*")
        names = lambda name: ".mlp." in name and name.split(".")[2] in "13"
        self.assert_has_tensors(source, self.dir / "copy", names)
        self.assertEqual(done["wanted_bytes"], tensor_bytes(source, names) + plain_bytes(source))

    def test_shared_all_brings_everything_outside_the_layers(self):
        source = self.checkpoint(**SHAPES["llama"])
        _, ticket = self.seed(source)
        done = self.fetch(ticket, self.dir / "copy", "--layers", "3", "--shared", "all")
        names = lambda name: "layers" not in name or ".layers.3." in name
        self.assert_has_tensors(source, self.dir / "copy", names)
        self.assertEqual(done["wanted_bytes"], tensor_bytes(source, names) + plain_bytes(source))

    def test_dry_run_and_inspect_tell_what_a_fetch_moves(self):
        source = self.checkpoint(**SHAPES["llama"])
        _, ticket = self.seed(source)
        selection = ("--layers", "2-4", "--tensors", "*norm*")
        plan = self.run_command("fetch", ticket, "--to", self.dir / "copy", "--dry-run", "--json",
                                *selection).events[0]
        self.assertFalse((self.dir / "copy").exists())
        by_ticket = self.run_command("inspect", ticket, "--json", *selection)
        by_directory = self.run_command("inspect", source, "--json", *selection)
        self.assertEqual(json.loads(by_ticket.stdout), json.loads(by_directory.stdout))
        done = self.fetch(ticket, self.dir / "copy", *selection)
        self.assertEqual(plan["wanted_bytes"], done["wanted_bytes"])
        self.assertEqual(json.loads(by_ticket.stdout)["wanted_bytes"], done["wanted_bytes"])

    def test_dry_run_counts_what_this_machine_has(self):
        source = self.checkpoint(**SHAPES["llama"])
        _, ticket = self.seed(source)

        def plan(*arguments):
            found = self.run_command("fetch", ticket, self.dir / "copy", "--dry-run", "--json",
                                     *arguments).events[0]
            self.assertEqual(found["wanted_bytes"], found["here_bytes"] + found["elsewhere_bytes"]
                             + found["to_fetch_bytes"])
            return found

        whole = plan()
        self.assertEqual(whole["elsewhere_bytes"], whole["wanted_bytes"])  # the source's directory
        self.assertEqual(plan("--no-reuse")["to_fetch_bytes"], whole["wanted_bytes"])
        first = self.fetch(ticket, self.dir / "copy", "--layers", "0-3")
        wider = plan("--layers", "0-5", "--no-reuse")
        self.assertEqual(wider["here_bytes"], first["wanted_bytes"])
        before = tree(self.dir / "copy")
        second = self.fetch(ticket, self.dir / "copy", "--layers", "0-5")
        self.assertNotEqual(tree(self.dir / "copy"), before)
        self.assertEqual(second["fetched_bytes"], wider["to_fetch_bytes"])
        self.assertEqual(plan("--layers", "0-5", "--no-reuse")["to_fetch_bytes"], 0)

    def test_widening_moves_only_what_is_missing(self):
        source = self.checkpoint(**SHAPES["llama"])
        _, ticket = self.seed(source)
        first = self.fetch(ticket, self.dir / "copy", "--layers", "0-3")
        second = self.fetch(ticket, self.dir / "copy", "--layers", "0-5")
        self.assertEqual(second["reused_bytes"], first["wanted_bytes"])
        self.assertEqual(second["fetched_bytes"],
                         second["wanted_bytes"] - first["wanted_bytes"])
        self.assert_has_tensors(source, self.dir / "copy", in_layers(0, 5, 8))


if __name__ == "__main__":
    unittest.main()
