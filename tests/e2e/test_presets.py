"""Presets: what `--for ENGINE --rank R/N` brings is what that engine reads on that rank, by the rules
in engines.py, over real families and through real fetches."""

import glob
import json
import subprocess
import unittest

from engines import ENGINES, NO_PIPELINE_IN_VLLM, families, layer_range
from reader import INDEX, read_model
from swarm import BIN, SwarmTest, tree

WEIGHTS = (64, 16, 16)


def flags(engine, rank, ranks, weights=()):
    text = f"--for {engine} --rank {rank}/{ranks}"
    return text + (f" --weights {','.join(map(str, weights))}" if weights else "")


class FamiliesTest(unittest.TestCase):
    def requests(self, family):
        """Every rank of pipelines of 1, 2, 3, 4 and 5 ranks, and of three unequal machines."""
        for engine in ENGINES:
            if engine == "vllm" and family.name in NO_PIPELINE_IN_VLLM:
                continue
            for ranks in (1, 2, 3, 4, 5):
                if ranks <= family.layers:
                    yield from ((engine, rank, ranks, ()) for rank in range(ranks))
            if engine != "transformers" and family.layers >= 3:
                yield from ((engine, rank, 3, WEIGHTS) for rank in range(3))

    def test_every_family_through_every_preset(self):
        asked = [(family, *request) for family in families() for request in self.requests(family)]
        lines = "".join(f"{family.name}\t{flags(*request)}\n" for family, *request in asked)
        answers = subprocess.run([BIN / "shardswarm_family_selections"], input=lines, text=True,
                                 check=True, stdout=subprocess.PIPE).stdout.splitlines()
        self.assertEqual(len(answers), len(asked))
        for (family, *request), answer in zip(asked, map(json.loads, answers)):
            with self.subTest(family.name, preset=flags(*request)):
                self.assertNotIn("error", answer)
                came, needed = set(answer["tensors"]), family.needed(*request)
                self.assertEqual(sorted(needed - came), [], "the engine misses these")
                self.assertEqual(sorted(came - needed), [], "nobody asked for these")


class PresetTest(SwarmTest):
    def rank(self, engine, rank, ranks, *more):
        copy = self.dir / f"{engine}{rank}-{ranks}{'-'.join(more)}"
        done = self.fetch(self.ticket, copy, *flags(engine, rank, ranks).split(), *more)
        return copy, done

    def outside(self, model):
        return {name for name in model if not name.startswith("model.layers.")}

    def own(self, model, start, end):
        return {name for name in model if name.startswith("model.layers.")
                and start <= int(name.split(".")[2]) < end}

    def start_source(self, **options):
        self.source = self.checkpoint(**options)
        _, self.ticket = self.seed(self.source)
        return read_model(self.source)

    def test_mlx_lm_finds_what_each_rank_needs(self):
        """As sharded_load() does: the index names each parameter of the rank, no file is missing, and
        load_model()'s glob finds the files."""
        model = self.start_source(size="8MiB", layers=7, files=2)
        for rank in range(3):
            copy, _ = self.rank("mlx-lm", rank, 3)
            weights = json.loads((copy / ("model" + INDEX)).read_text())["weight_map"]
            start, end = layer_range("mlx-lm", 7, rank, 3)
            self.assertEqual(set(weights), self.outside(model) | self.own(model, start, end))
            found = {path.split("/")[-1] for path in glob.glob(str(copy / "model*.safetensors"))}
            self.assertEqual(found, set(weights.values()))
            here = read_model(copy)
            for name in weights:
                self.assertEqual(here[name], model[name], name)
        self.assertEqual(layer_range("mlx-lm", 7, 0, 3), (4, 7))  # rank 0 is the last stage

    def test_exo_finds_a_complete_model(self):
        """As is_model_directory_complete() does: an index below the directory, and every file that it
        names. Then exo reads its layers, and all that stands outside them."""
        model = self.start_source(size="8MiB", layers=6, files=3)
        for rank in range(2):
            copy, done = self.rank("exo", rank, 2, "--weights", "2,1")
            indexes = [path for path in copy.glob("**/*.safetensors.index.json")
                       if ".shardswarm" not in path.parts]
            self.assertEqual([path.name for path in indexes], ["model" + INDEX])
            weights = json.loads(indexes[0].read_text())["weight_map"]
            for name in set(weights.values()):
                self.assertTrue((copy / name).is_file(), name)
            start, end = layer_range("exo", 6, rank, 2, (2, 1))
            needed = self.outside(model) | self.own(model, start, end)
            here = read_model(copy)
            self.assertEqual(set(here), needed)
            for name in needed:
                self.assertEqual(here[name], model[name], name)

    def test_what_is_kept_on_disk_is_the_plain_form(self):
        self.start_source(size="4MiB", layers=4)
        copy, _ = self.rank("exo", 1, 2)
        shard = json.loads((copy / "shard.json").read_text())
        self.assertEqual(shard["selection"], [{"fetch": "--layers 2-3 --shared all"}])
        # And another rank comes to it.
        self.fetch(self.ticket, copy, *flags("exo", 0, 2).split())
        self.assertEqual(set(read_model(copy)), set(read_model(self.source)))

    def test_tied_embeddings_come_with_both_ends(self):
        model = self.start_source(size="4MiB", layers=4, tied=True)
        embedding = {"model.embed_tokens.weight"}
        for engine in ("vllm", "sglang", "transformers"):
            for rank in range(3):
                copy, _ = self.rank(engine, rank, 3)
                here = set(read_model(copy))
                self.assertEqual(embedding <= here, rank != 1, (engine, rank))
                start, end = layer_range(engine, 4, rank, 3)
                self.assertEqual(here & self.own(model, 0, 4), self.own(model, start, end))

    def test_one_rank_is_all_tensors_and_no_other_format(self):
        self.start_source(size="4MiB", layers=2, files=2, consolidated=True)
        (self.source / "model.gguf").write_bytes(b"GGUF" * 100)
        _, self.ticket = self.seed(self.source)
        copy, done = self.rank("vllm", 0, 1)
        self.assertEqual(done["layout"], "original")
        missing = set(tree(self.source)) - set(tree(copy))
        self.assertEqual(missing, {"consolidated.safetensors", "model.gguf",
                                   "original/consolidated.00.pth"})
        self.assertEqual({left["path"] for left in done["left_out"]}, missing)
