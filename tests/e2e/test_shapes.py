"""What each part of each architecture costs, beside what it needs by our own reading."""

import fnmatch
import json
import os

from shapes import LAYERS, SHAPES, Reading
from swarm import SwarmTest, plain_bytes, read_header, tensor_bytes, tensors

LIMIT = 1.001


def entries_of(directory):
    """{tensor: header entry} of all safetensors files."""
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        found.update(read_header(path)[1])
    return found


class ShapesTest(SwarmTest):
    """Beside the fetched bytes stand those of the tensors that are needed. Plain files (configuration,
    tokenizer, index) come with every part and are left out of both."""

    def setUp(self):
        super().setUp()
        self.rows = []  # (model, selection, needed, fetched, whether LIMIT holds there)

    def tearDown(self):
        held = [row[3] / row[2] for row in self.rows if row[4]]
        others = [row[3] / row[2] for row in self.rows if not row[4]]
        print(f"{len(self.rows)} parts: fetched / needed <= {max(held):.6f}"
              + (f"; where pieces are smaller than rows allow up to {max(others):.3f}" if others else ""))
        if os.environ.get("SHARDSWARM_PRINT_TABLE"):
            print("| model | selection | needed | fetched | ratio |\n|---|---|---:|---:|---:|")
            for model, selection, needed, fetched, _ in self.rows:
                print(f"| {model} | `{selection}` | {needed} | {fetched} | {fetched / needed:.6f} |")
        super().tearDown()

    def part(self, model, source, ticket, selection, needed, exact=True):
        """Fetches a part; `needed` is {name: bytes}."""
        copy = self.dir / f"copy{len(self.rows)}"
        done = self.fetch(ticket, copy, *selection)
        fetched = done["fetched_bytes"] - done["duplicate_bytes"] - plain_bytes(source)
        self.rows.append((model, " ".join(selection), sum(needed.values()), fetched, exact))
        self.assertEqual(done["selected_bytes"] - plain_bytes(source), sum(needed.values()), selection)
        if exact:
            self.assertLessEqual(fetched, LIMIT * sum(needed.values()), selection)
        self.assertEqual({name: entry["data_offsets"][1] - entry["data_offsets"][0]
                          for name, entry in entries_of(copy).items()}, needed)

    def seeded(self, name, **options):
        self._end_processes()  # of the model before
        source = self.checkpoint(name, **options)
        _, ticket = self.seed(source)
        return source, ticket

    def test_stages_and_layers(self):
        for model, shape in SHAPES.items():
            with self.subTest(model):
                options = {"experts": shape.experts} if shape.experts else {}
                source, ticket = self.seeded(model, model=model, divide=shape.divide, layers=LAYERS,
                                             **options)
                reading = Reading(shape, entries_of(source))
                self.assertEqual(reading.layers, LAYERS)
                parts = [(("--stage", f"{stage}/4"), reading.of_stage(stage, 4))
                         for stage in (1, 2, 4)]
                parts.append((("--layers", "2"), reading.of_layers(2, 2)))
                for selection, names in parts:
                    needed = {name: reading.bytes[name] for name in names}
                    self.part(model, source, ticket, selection, needed)

    def test_experts(self):
        for model, shape in SHAPES.items():
            if not shape.experts:
                continue
            with self.subTest(model):
                source, ticket = self.seeded(model, model=model, divide=shape.divide, layers=4,
                                             experts=shape.experts)
                reading = Reading(shape, entries_of(source))
                # Tensors of at most 1 MiB are one piece: stacked experts that small come whole.
                small = any(shape.stacked in name and size <= 1 << 20
                            for name, size in reading.bytes.items()) if shape.stacked else False
                last = shape.experts // 2 - 1
                self.part(model, source, ticket, ("--experts", f"0-{last}"),
                          reading.of_experts(0, last), exact=not small)

    def test_experts_stacked_as_large_as_they_are(self):
        model, shape = "qwen3-30b-a3b-mlx-4bit", SHAPES["qwen3-30b-a3b-mlx-4bit"]
        source, ticket = self.seeded(model, model=model, divide=2, layers=1, experts=128,
                                     vocabulary=1024)
        reading = Reading(shape, entries_of(source))
        needed = {name: size // 2 if "switch_mlp" in name else size
                  for name, size in reading.bytes.items()}
        self.part(model, source, ticket, ("--experts", "64-127"), needed)

    def test_slices(self):
        for model, shape in SHAPES.items():
            with self.subTest(model):
                options = {"experts": 2} if shape.experts else {}
                source, ticket = self.seeded(model, model=model, divide=shape.slice_divide, layers=2,
                                             vocabulary=1024, **options)
                entries = entries_of(source)
                reading = Reading(shape, entries)
                needed = {}
                layer = shape.slice_layer
                for name in reading.of_layers(layer, layer):
                    needed[name] = reading.bytes[name]
                    if not fnmatch.fnmatchcase(name, shape.slice):
                        continue
                    self.assertGreater(needed[name], 1 << 20, name)
                    self.assertEqual(entries[name]["shape"][0] % 8, 0, name)
                    needed[name] //= 2
                self.part(model, source, ticket,
                          ("--layers", str(layer), "--slice", shape.slice + ":0/2"), needed)


class SelectionTest(SwarmTest):
    """What selections say when they cannot be, and that all ways of writing one are the same."""

    def refused(self, ticket, selection, *words):
        ended = self.start_fetch(ticket, self.dir / "copy", *selection).end()
        self.assertEqual(ended.code, 2, ended.stderr)
        line = ended.stderr.strip()
        self.assertEqual(line.count("\n"), 0, line)
        for word in words:
            self.assertIn(word, line)
        self.assertFalse((self.dir / "copy").exists())

    def wanted(self, place, *selection):
        ended = self.run_command("inspect", place, "--json", *selection)
        self.assertEqual(ended.code, 0, ended.stderr)
        return json.loads(ended.stdout)

    def test_rows_that_do_not_divide(self):
        source = self.checkpoint(model="gpt2", divide=32, layers=2, vocabulary=50257)
        _, ticket = self.seed(source)
        self.refused(ticket, ("--slice", "wte.weight:0/2"), "wte.weight", "50257 rows")
        self.refused(ticket, ("--slice", "nothing*:0/2"), "nothing*")
        self.refused(ticket, ("--slice", "*.c_attn.weight:2/2"), "*.c_attn.weight:2/2")

    def test_parts_that_the_model_has_not(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=32, layers=3)
        _, ticket = self.seed(source)
        self.refused(ticket, ("--stack", "encoder.block"), "encoder.block", "model.layers")
        self.refused(ticket, ("--experts", "0-1"), "no experts")
        self.refused(ticket, ("--layers", "3"), "0-2")
        self.refused(ticket, ("--stage", "1/4"), "at most 3")
        self.refused(ticket, ("--slice", "*.q_proj.*:0/2", "--slice", "*.0.self_attn.*:1/2"),
                     "*.q_proj.*:0/2", "*.0.self_attn.*:1/2", "model.layers.0.self_attn.q_proj.weight")
        self.refused(ticket, ("--layers", "0", "--exclude", "*"), "exclude")

    def test_experts_that_the_model_has_not(self):
        source = self.checkpoint(model="dbrx", divide=32, layers=1, experts=4)
        _, ticket = self.seed(source)
        self.refused(ticket, ("--experts", "2-4"), "0-3")
        self.refused(ticket, ("--experts", "0", "--slice", "*.mlp.w1:0/2"), "*.mlp.w1:0/2", "--experts")

    def test_both_stacks_of_t5(self):
        source = self.checkpoint(model="t5-base", divide=16, layers=3)
        _, ticket = self.seed(source)
        everything = tensors(source)
        # T5's decoder reads what the encoder made; the encoder needs no decoder.
        encoder = {name for name in everything if name.startswith(("encoder.", "shared."))}
        self.fetch(ticket, self.dir / "encoder", "--stack", "encoder.block")
        self.assertEqual(tensors(self.dir / "encoder"), {name: everything[name] for name in encoder})
        done = self.fetch(ticket, self.dir / "layer", "--stack", "encoder.block", "--layers", "1")
        # The first block holds the position bias of all of them.
        middle = lambda name: name.startswith("encoder.block.1.") or name == (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        self.assertEqual(set(tensors(self.dir / "layer")), set(filter(middle, everything)))
        self.assertEqual(done["wanted_bytes"], tensor_bytes(source, middle) + plain_bytes(source))

    def test_json_and_flags_are_the_same(self):
        source = self.checkpoint(model="mixtral-8x22b", divide=32, layers=4, experts=4)
        _, ticket = self.seed(source)
        cases = (
            (("--layers", "0-1", "--layers", "3"), {"layers": ["0-1", "3"]},
             "--layers 0-1 --layers 3"),
            (("--stage", "2/4", "--experts", "0-1"), {"stages": ["2/4"], "experts": ["0-1"]},
             "--stage 2/4 --experts 0-1"),
            (("--layers", "2", "--slice", "*.q_proj.weight:1/2", "--exclude", "*.w3.*",
              "--shared", "all"),
             {"layers": ["2"], "slices": ["*.q_proj.weight:1/2"], "excludes": ["*.w3.*"],
              "shared": "all"},
             "--layers 2 --slice '*.q_proj.weight:1/2' --exclude '*.w3.*' --shared all"),
            (("--tensors", "*norm*", "--files", "config*"),
             {"tensors": ["*norm*"], "files": ["config*"]},
             "--tensors '*norm*' --files 'config*'"),
        )
        for number, (flags, object_, text) in enumerate(cases):
            by_flags = self.wanted(source, *flags)
            self.assertEqual(self.wanted(source, "--selection", json.dumps(object_)), by_flags)
            self.assertEqual(by_flags["selection"], text)
            done = self.fetch(ticket, self.dir / f"copy{number}", "--selection", json.dumps(object_))
            self.assertEqual(done["selected_bytes"], by_flags["selected_bytes"])
            self.assertEqual(done["wanted_bytes"], by_flags["wanted_bytes"])
            shard = json.loads((self.dir / f"copy{number}" / "shard.json").read_text())
            self.assertEqual(shard["selection"], [{"fetch": text}])
        for bad, word in (("{", "JSON"), ('{"layer":["1"]}', "'layer'"), ('{"layers":[1]}', "layers"),
                          ('{"layers":"1"}', "layers"), ("[]", "object")):
            self.refused(ticket, ("--selection", bad), word)
        self.refused(ticket, ("--selection", "{}", "--layers", "1"), "--selection")
