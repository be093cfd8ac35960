"""The compact layout, read by a reader of our own: files, headers, indexes, shard.json."""

import json
import re

from reader import (INDEX, check_shard, plain_files, read_model, wanted_of, weight_files)
from swarm import SwarmTest, id_of, plain_bytes, tree

MODEL = "model.layers."


def layers(first, last, of, beside=True):
    """Predicate: what layers first..last of a llama of so many need."""
    def names(name):
        if name.startswith(MODEL):
            return first <= int(name.split(".")[2]) <= last
        at_input = "embed_tokens" in name
        return beside and (first == 0 if at_input else last == of - 1)
    return names


class CompactTest(SwarmTest):
    def seeded(self, name="source", **options):
        source = self.checkpoint(name, **options)
        _, ticket = self.seed(source)
        return source, ticket

    def test_layers_of_mixed_dtypes_in_any_order(self):
        for order in ("reference", "mlx"):
            with self.subTest(order):
                source, ticket = self.seeded(order, model="llama-3.1-8b-int8", divide=32, layers=4,
                                             files=3, order=order)
                model = read_model(source)
                self.assertTrue(any(not tensor.shape for tensor in model.values()))  # scalars
                for first, last in ((0, 0), (1, 2), (0, 3)):
                    copy = self.dir / f"{order}{first}{last}"
                    self.fetch(ticket, copy, "--layers", f"{first}-{last}", "--layout", "compact")
                    check_shard(self, source, copy, wanted_of(model, layers(first, last, 4)))
                    shard = json.loads((copy / "shard.json").read_text())
                    text = str(first) if first == last else f"{first}-{last}"
                    self.assertEqual(shard["layers"],
                                     [{"name": "model.layers", "layers": text, "of": 4}])

    def test_slices_have_their_own_shape(self):
        source, ticket = self.seeded(model="llama-3.1-8b", divide=16, layers=3, vocabulary=4096)
        model = read_model(source)
        for rank, count in ((0, 2), (1, 2), (3, 8), (15, 16)):
            copy = self.dir / f"copy{rank}-{count}"
            rows = {}
            for name in ("embed_tokens", "layers.0.self_attn.q_proj", "layers.0.mlp.up_proj"):
                name = f"model.{name}.weight"
                each = model[name].shape[0] // count
                rows[name] = (rank * each, (rank + 1) * each)
            self.fetch(ticket, copy, "--layers", "0", *(
                word for glob in ("*embed_tokens*", "*.q_proj.*", "*.up_proj.*")
                for word in ("--slice", f"{glob}:{rank}/{count}")))
            check_shard(self, source, copy, wanted_of(model, layers(0, 0, 3), rows), rows)

    def test_stacked_experts_are_rows(self):
        source, ticket = self.seeded(model="dbrx", divide=32, layers=2, experts=8)
        model = read_model(source)
        rows = {name: (tensor.shape[0] * 2 // 8, tensor.shape[0] * 5 // 8)
                for name, tensor in model.items() if ".blocks.1.ffn.experts." in name}
        self.assertEqual(len(rows), 3)
        self.fetch(ticket, self.dir / "copy", "--layers", "1", "--experts", "2-4")
        names = lambda name: ".blocks.1." in name or name.startswith(("transformer.norm_f", "lm_head"))
        check_shard(self, source, self.dir / "copy", wanted_of(model, names, rows), rows)

    def test_a_pipeline_has_an_index_for_each_component(self):
        source = self.checkpoint(pipeline=True, layers=3)
        _, ticket = self.seed(source)
        model = read_model(source)
        self.assertEqual({name.split("/")[0] for name in model}, {"transformer", "text_encoder", "vae"})
        blocks = "transformer/transformer_blocks."
        # Of no side of the layers that their names would tell: they come with every part.
        everywhere = ("transformer/time_text_embed.", "transformer/context_embedder.",
                      "transformer/norm_out.")
        cases = {
            ("--layers", "1"): lambda n: n.startswith((blocks + "1.", *everywhere)),
            ("--tensors", "vae/*"): lambda n: n.startswith("vae/"),
            ("--layers", "1", "--tensors", "vae/decoder.*"):
                lambda n: n.startswith((blocks + "1.", "vae/decoder.", *everywhere)),
            ("--stack", "text_encoder/text_model.encoder.layers"):
                lambda n: n.startswith("text_encoder/"),
            ("--stack", "text_encoder/text_model.encoder.layers", "--layers", "2"):
                lambda n: n.startswith("text_encoder/text_model.encoder.layers.2."),
        }
        for number, (selection, names) in enumerate(cases.items()):
            with self.subTest(selection):
                copy = self.dir / f"copy{number}"
                self.fetch(ticket, copy, *selection)
                check_shard(self, source, copy, wanted_of(model, names))
        self.fetch(ticket, self.dir / "whole")
        self.assert_same_tree(source, self.dir / "whole")

    def test_other_weights_come_only_when_they_are_named(self):
        source, ticket = self.seeded(model="llama-3.1-8b", divide=32, layers=3, files=2,
                                     consolidated=True)
        spare = "consolidated.safetensors"
        self.assertTrue((source / spare).exists())
        self.assertTrue((source / "original/consolidated.00.pth").exists())
        model = read_model(source, but=(spare,))
        wanted = wanted_of(model, layers(1, 1, 3))
        self.fetch(ticket, self.dir / "copy", "--layers", "1")
        check_shard(self, source, self.dir / "copy", wanted)
        self.fetch(ticket, self.dir / "all")
        self.assert_same_tree(source, self.dir / "all")
        for glob, path in ((spare, spare), ("original/*", "original/consolidated.00.pth")):
            copy = self.dir / path.replace("/", "-")
            self.fetch(ticket, copy, "--layers", "1", "--files", glob)
            self.assertEqual((copy / path).read_bytes(), (source / path).read_bytes())
            self.assertEqual(set(tree(copy)) - set(tree(self.dir / "copy")), {path})

    def test_hub_snapshots_of_links(self):
        blobs = self.checkpoint("blobs", model="mixtral-8x22b", divide=32, layers=2, experts=2)
        hub = self.dir / "models--org--name"
        (hub / "snapshots" / "abc").mkdir(parents=True)
        (hub / "blobs").mkdir()
        for number, path in enumerate(sorted(blobs.iterdir())):
            path.rename(hub / "blobs" / f"{number:064x}")
            (hub / "snapshots" / "abc" / path.name).symlink_to(f"../../blobs/{number:064x}")
        source = hub / "snapshots" / "abc"
        _, ticket = self.seed(source)
        self.fetch(ticket, self.dir / "copy", "--layers", "0")
        check_shard(self, source, self.dir / "copy", wanted_of(read_model(source), layers(0, 0, 2)))
        self.fetch(ticket, self.dir / "whole")
        self.assert_same_tree(source, self.dir / "whole")
        self.assertFalse(any(path.is_symlink() for path in (self.dir / "whole").iterdir()))


class LayoutTest(SwarmTest):
    """What --layout and convert make; refusals."""

    def setUp(self):
        super().setUp()
        self.source = self.checkpoint(model="llama-3.1-8b", divide=32, layers=4, files=3)
        self.seeder, self.ticket = self.seed(self.source)
        self.model = read_model(self.source)

    def convert(self, directory, layout):
        ended = self.run_command("convert", directory, "--layout", layout)
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual(self.run_command("verify", directory, "--full").code, 0)

    def check_mirror(self, copy, wanted):
        """Sizes and offsets as in the source; the wanted tensors right; nothing else wrong."""
        self.assertFalse((copy / "shard.json").exists())
        files = {path.name for path in weight_files(copy)}
        for name in files:
            self.assertEqual((copy / name).stat().st_size, (self.source / name).stat().st_size)
        held = read_model(copy)
        for name, tensor in wanted.items():
            self.assertEqual(held[name], tensor, name)
        self.assertEqual((copy / ("model" + INDEX)).read_bytes(),
                         (self.source / ("model" + INDEX)).read_bytes())
        self.assertEqual(plain_files(copy), plain_files(self.source))

    def test_layouts_by_name(self):
        wanted = wanted_of(self.model, layers(1, 2, 4))
        done = self.fetch(self.ticket, self.dir / "mirror", "--layers", "1-2", "--layout", "mirror")
        self.assertEqual(done["layout"], "mirror")
        self.check_mirror(self.dir / "mirror", wanted)
        # The original layout has whole files or none.
        done = self.fetch(self.ticket, self.dir / "original", "--layers", "1-2", "--layout", "original")
        self.assertEqual(done["layout"], "original")
        have = {path.name for path in weight_files(self.dir / "original")}
        needed = {path.name for path in weight_files(self.source)
                  if set(wanted) & set(read_model(self.source, but={
                      other.name for other in weight_files(self.source)} - {path.name}))}
        self.assertEqual(have, needed)
        self.assertLess(len(have), 3)
        self.assertEqual(tree(self.dir / "original"),
                         {path: digest for path, digest in tree(self.source).items()
                          if path in have or not path.endswith(".safetensors")})
        self.fetch(self.ticket, self.dir / "compact", "--layout", "compact")
        check_shard(self, self.source, self.dir / "compact", self.model)
        ended = self.start_fetch(self.ticket, self.dir / "mirror", "--layout", "compact").end()
        self.assertEqual(ended.code, 2)
        self.assertIn("convert", ended.stderr)

    def test_convert_a_part_there_and_back(self):
        copy, wanted = self.dir / "copy", wanted_of(self.model, layers(1, 3, 4))
        self.fetch(self.ticket, copy, "--layers", "1-3")
        self.seeder.kill()  # nothing of this needs the network
        before = tree(copy)
        self.convert(copy, "mirror")
        self.check_mirror(copy, wanted)
        self.convert(copy, "compact")
        check_shard(self, self.source, copy, wanted)
        self.assertEqual(tree(copy), before)
        ended = self.run_command("convert", copy, "--layout", "original")
        self.assertEqual(ended.code, 2, ended.stderr)
        self.assertEqual(tree(copy), before)

    def test_convert_a_whole_model_there_and_back(self):
        copy = self.dir / "copy"
        self.fetch(self.ticket, copy)
        self.seeder.kill()
        for layout in ("compact", "mirror", "original", "mirror", "compact", "original"):
            self.convert(copy, layout)
            if layout == "compact":
                check_shard(self, self.source, copy, self.model)
            else:
                self.assert_same_tree(self.source, copy)

    def test_a_converted_directory_is_widened_and_served(self):
        copy = self.dir / "copy"
        self.fetch(self.ticket, copy, "--layers", "1", "--layout", "mirror")
        self.convert(copy, "compact")
        self.fetch(self.ticket, copy, "--layers", "2")
        check_shard(self, self.source, copy, wanted_of(self.model, layers(1, 2, 4)))
        self.seeder.kill()
        _, ticket = self.seed(copy)
        self.assertEqual(id_of(ticket), id_of(self.ticket))
        self.fetch(ticket, self.dir / "second", "--layers", "1-2")
        check_shard(self, self.source, self.dir / "second", wanted_of(self.model, layers(1, 2, 4)))

    def refused(self, ticket, copy, code, *words):
        before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in copy.rglob("*")
                  if ".shardswarm" not in path.parts}
        ended = self.start_fetch(ticket, copy, "--layers", "1").end()
        self.assertEqual(ended.code, code, ended.stderr)
        for word in words:
            self.assertIn(word, ended.stderr)
        self.assertEqual({path: (path.stat().st_ino, path.stat().st_mtime_ns)
                          for path in copy.rglob("*") if ".shardswarm" not in path.parts}, before)

    def test_directories_that_are_not_for_us(self):
        other = self.checkpoint("other", model="llama-3.1-8b", divide=32, layers=4, files=3, seed=2)
        _, other_ticket = self.seed(other)
        copy = self.dir / "copy"
        self.fetch(self.ticket, copy, "--layers", "0")
        self.refused(other_ticket, copy, 6, str(copy))
        self.assertEqual(self.run_command("verify", copy, "--full").code, 0)
        for number, name in enumerate(("model-model.layers-1.safetensors", "model" + INDEX,
                                       "shard.json", "config.json")):
            own = self.dir / f"own{number}"
            own.mkdir()
            (own / name).write_text("mine")
            self.refused(self.ticket, own, 6, name)
            self.assertFalse((own / ".shardswarm").exists())
        # What is the user's and in nobody's way stays beside ours.
        (copy / "notes.txt").write_text("mine")
        self.fetch(self.ticket, copy, "--layers", "1")
        self.assertEqual((copy / "notes.txt").read_text(), "mine")

    def test_a_users_file_in_the_way_of_a_widening(self):
        copy = self.dir / "copy"
        self.fetch(self.ticket, copy, "--layers", "0")
        (copy / "model-model.layers-1.safetensors").write_text("mine")
        before = tree(copy)
        ended = self.start_fetch(self.ticket, copy, "--layers", "1").end()
        self.assertEqual(ended.code, 6, ended.stderr)
        self.assertEqual(tree(copy), before)


class WideningTest(SwarmTest):
    """Fetched in two steps a shard is what it would be in one; the second moves the difference."""

    def check_same_shard(self, one, other):
        self.assertEqual(read_model(one), read_model(other))
        self.assertEqual(plain_files(one), plain_files(other))
        for path in one.rglob("*" + INDEX):
            if ".shardswarm" in path.parts:
                continue
            mine = json.loads(path.read_text())
            theirs = json.loads((other / path.relative_to(one)).read_text())
            self.assertEqual(mine["metadata"], theirs["metadata"])
            self.assertEqual(set(mine["weight_map"]), set(theirs["weight_map"]))
        mine, theirs = (json.loads((place / "shard.json").read_text()) for place in (one, other))
        for member in ("model", "complete", "tensors", "tensor_bytes", "layers", "slices"):
            self.assertEqual(mine[member], theirs[member], member)

    def widen(self, source, ticket, name, first, second, union, grown="", rows=None, names=None):
        """first, then second, against union. Files whose names match `grown` are made anew."""
        with self.subTest(name):
            copy = self.dir / name
            one = self.fetch(ticket, copy, *first)
            stood = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
                     for path in weight_files(copy)}
            two = self.fetch(ticket, copy, *second)
            fresh = self.dir / (name + "-fresh")
            whole = self.fetch(ticket, fresh, *union)
            self.check_same_shard(copy, fresh)
            self.assertEqual(two["fetched_bytes"], whole["wanted_bytes"] - one["wanted_bytes"])
            self.assertEqual(two["reused_bytes"], two["wanted_bytes"] - two["fetched_bytes"])
            if names:
                check_shard(self, source, copy, wanted_of(read_model(source), names, rows), rows)
            for file, identity in stood.items():
                if grown and re.search(grown, file):
                    continue
                stat = (copy / file).stat()
                self.assertEqual((stat.st_ino, stat.st_mtime_ns), identity, file)
            self.assertEqual(self.run_command("verify", copy, "--full").code, 0)
            again = self.fetch(ticket, copy, *union)
            self.assertEqual(again["fetched_bytes"], 0)

    def test_layers(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=32, layers=5, files=2)
        _, ticket = self.seed(source)
        self.widen(source, ticket, "up", ("--layers", "0-1"), ("--layers", "2-3"), ("--layers", "0-3"),
                   names=layers(0, 3, 5))
        self.widen(source, ticket, "overlap", ("--layers", "1-3"), ("--layers", "2-4"),
                   ("--layers", "1-4"), names=layers(1, 4, 5))
        self.widen(source, ticket, "all", ("--stage", "3/3"), (), ("--layout", "compact"),
                   names=lambda name: True)
        self.widen(source, ticket, "globs", ("--tensors", "*.1.mlp.*"), ("--layers", "1"),
                   ("--layers", "1"), names=layers(1, 1, 5))
        self.widen(source, ticket, "shared", ("--layers", "2"), ("--layers", "2", "--shared", "all"),
                   ("--layers", "2", "--shared", "all"),
                   names=lambda n: not n.startswith(MODEL) or n.startswith(MODEL + "2."))

    def test_slices(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=4, layers=1, vocabulary=256)
        _, ticket = self.seed(source)
        model = read_model(source)
        names = {name for name in model if ".q_proj." in name or ".gate_proj." in name}
        part = lambda rank, count: ("--slice", f"*.q_proj.*:{rank}/{count}",
                                    "--slice", f"*.gate_proj.*:{rank}/{count}")
        everything = lambda name: True
        halves = {name: (0, model[name].shape[0] // 2) for name in names}
        self.widen(source, ticket, "next", part(0, 4), part(1, 4), part(0, 2), "layers-0",
                   rows=halves, names=everything)
        self.widen(source, ticket, "before", part(1, 4), part(0, 4), part(0, 2), "layers-0",
                   rows=halves, names=everything)
        self.widen(source, ticket, "within", part(0, 8), part(0, 2), part(0, 2), "layers-0",
                   rows=halves, names=everything)
        self.widen(source, ticket, "whole", part(2, 4), (), ("--layout", "compact"), "layers-0",
                   names=everything)
        # Rows that are not adjacent are no tensor.
        before = tree(self.dir / "next")
        self.fetch(ticket, self.dir / "apart", *part(0, 4))
        ended = self.start_fetch(ticket, self.dir / "apart", *part(2, 4)).end()
        self.assertEqual(ended.code, 2, ended.stderr)
        self.assertIn("mirror", ended.stderr)
        quarters = {name: (0, model[name].shape[0] // 4) for name in names}
        check_shard(self, source, self.dir / "apart", wanted_of(model, everything, quarters), quarters)
        self.assertEqual(tree(self.dir / "next"), before)

    def test_slices_within_pieces(self):
        """Tensors of at most 1 MiB are one piece: what is cut through is kept beside."""
        source = self.checkpoint(model="llama-3.1-8b", divide=16, layers=2, vocabulary=256)
        _, ticket = self.seed(source)
        part = lambda rank, count: ("--layers", "1", "--slice", f"*.q_proj.*:{rank}/{count}")
        name = "model.layers.1.self_attn.q_proj.weight"
        rows = {name: (0, read_model(source)[name].shape[0] // 2)}
        for label, first, second in (("next", (0, 4), (1, 4)), ("within", (1, 8), (0, 2))):
            with self.subTest(label):
                copy = self.dir / label
                self.fetch(ticket, copy, *part(*first))
                done = self.fetch(ticket, copy, *part(*second))
                self.assertEqual(done["fetched_bytes"], 0)  # the piece was here
                check_shard(self, source, copy, wanted_of(read_model(source), layers(1, 1, 2), rows),
                            rows)
                self.assertEqual(self.run_command("verify", copy, "--full").code, 0)

    def test_experts(self):
        for model, options in (("mixtral-8x22b", dict(divide=32, experts=4)),
                               ("dbrx", dict(divide=16, experts=8))):
            source = self.checkpoint(model, model=model, layers=1, **options)
            _, ticket = self.seed(source)
            half = options["experts"] // 2
            self.widen(source, ticket, model + "-copy", ("--experts", f"0-{half - 2}"),
                       ("--experts", f"{half - 1}-{half}"), ("--experts", f"0-{half}"), "-0")

    def test_dropping_leaves_what_fetching_the_rest_brings(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=32, layers=5, files=2)
        _, ticket = self.seed(source)
        for name, first, dropped, rest in (
                ("low", ("--layers", "1-4"), ("--layers", "1-2"), ("--layers", "3-4")),
                ("middle", ("--layers", "0-4", "--layout", "compact"), ("--layers", "2"),
                 ("--layers", "0-1", "--layers", "3-4")),
                ("names", ("--layers", "1-2"), ("--tensors", "*.mlp.*"),
                 ("--layers", "1-2", "--exclude", "*.mlp.*"))):
            with self.subTest(name):
                copy, fresh = self.dir / name, self.dir / (name + "-fresh")
                self.fetch(ticket, copy, *first)
                before = sum(path.stat().st_blocks for path in copy.rglob("*") if path.is_file())
                ended = self.run_command("drop", copy, *dropped)
                self.assertEqual(ended.code, 0, ended.stderr)
                self.fetch(ticket, fresh, *rest)
                self.check_same_shard(copy, fresh)
                after = sum(path.stat().st_blocks for path in copy.rglob("*") if path.is_file())
                self.assertLess(after, before)
                self.assertEqual(self.run_command("verify", copy, "--full").code, 0)
                self.assertEqual(self.fetch(ticket, copy, *rest)["fetched_bytes"], 0)
                # And grows again.
                self.fetch(ticket, copy, *first)
                self.assertLess(set(read_model(fresh)), set(read_model(copy)))
