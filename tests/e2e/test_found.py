"""Checkpoints as they are found: second copies, variants, stale indexes, odd files, hub caches, any
names; from indexing to what a fetch has on its disk. The safetensors files are made here."""

import json
import os
import pathlib
import random
import struct
import unittest

from reader import read_model
from swarm import SwarmTest, tree

POINTER = ("version https://git-lfs.github.com/spec/v1\noid sha256:" + "7" * 64 +
           "\nsize 4976698672\n")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def weights(path, names, seed=0):
    """A safetensors file of F16 tensors of 8 x 8, whose bytes depend on the file and the name."""
    header, data = {}, b""
    for name in names:
        header[name] = {"dtype": "F16", "shape": [8, 8], "data_offsets": [len(data), len(data) + 128]}
        data += random.Random(f"{path.name} {name} {seed}").randbytes(128)
    text = json.dumps(header).encode()
    write(path, struct.pack("<Q", len(text)) + text + data)


def index(path, files):
    """files: {name of a file: names of tensors}."""
    write(path, json.dumps({"weight_map": {tensor: name for name, tensors in files.items()
                                           for tensor in tensors}}))


def layers(first, last, form="model.layers.%d.w"):
    return [form % layer for layer in range(first, last + 1)]


class FoundTest(SwarmTest):
    def setUp(self):
        super().setUp()
        self.model = self.dir / "m"
        write(self.model / "config.json", "{}")

    def part(self, *flags):
        """The tensors that a fetch of a part brings."""
        seed, ticket = self.seed(self.model)
        self.fetch(ticket, self.dir / "t", *flags)
        seed.kill()
        return read_model(self.dir / "t")

    def index_it(self, directory=None, code=0):
        ended = self.run_command("index", directory or self.model, "--json")
        self.assertEqual(ended.code, code, ended.stderr)
        return ended

    # --- second copies ---

    def test_the_authors_own_copy_does_not_come_with_a_part(self):
        weights(self.model / "model.safetensors", layers(0, 7))
        weights(self.model / "consolidated.safetensors", layers(0, 7, "layers.%d.w3"))
        self.assertEqual(sorted(self.part("--stage", "1/4")), layers(0, 1))

    def test_of_two_indexes_the_usual_one_is_meant(self):
        for base, form in (("model", "model.layers.%d.w"), ("consolidated", "layers.%d.w3")):
            files = {f"{base}-0000{n + 1}-of-00002.safetensors": layers(4 * n, 4 * n + 3, form)
                     for n in range(2)}
            for name, names in files.items():
                weights(self.model / name, names)
            index(self.model / f"{base}.safetensors.index.json", files)
        self.assertEqual(sorted(self.part("--stage", "1/4")), layers(0, 1))
        self.assertTrue((self.dir / "t" / "model.safetensors.index.json").exists())

    def test_a_part_of_a_pipeline_has_the_variant_without_a_name(self):
        for name in ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16"):
            weights(self.model / "unet" / f"{name}.safetensors", layers(0, 3, "blocks.%d.w"))
        found = self.part("--layers", "0-1")
        self.assertEqual(sorted(found), layers(0, 1, "unet/blocks.%d.w"))
        usual = read_model(self.model, but=("diffusion_pytorch_model.fp16.safetensors",))
        for name, tensor in found.items():
            self.assertEqual(tensor, usual[name])

    def test_the_index_says_which_of_two_files_has_a_tensor(self):
        first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
        weights(self.model / first, [*layers(0, 1), "model.norm.weight", "x.weight"])
        weights(self.model / second, [*layers(2, 3), "model.norm.weight", "x.weight"])
        index(self.model / "model.safetensors.index.json",
              {first: [*layers(0, 1), "x.weight"], second: [*layers(2, 3), "model.norm.weight"]})
        found = self.part("--tensors", "model.norm.weight", "--tensors", "x.weight")
        self.assertEqual(found["model.norm.weight"],
                         read_model(self.model, but=(first,))["model.norm.weight"])
        self.assertEqual(found["x.weight"], read_model(self.model, but=(second,))["x.weight"])

    def test_the_whole_is_bit_for_bit_the_same(self):
        weights(self.model / "a.safetensors", layers(0, 2))
        weights(self.model / "b.safetensors", layers(2, 4))
        seed, ticket = self.seed(self.model)
        for layout in ("original", "mirror"):
            self.fetch(ticket, self.dir / layout, "--layout", layout)
            self.assert_same_tree(self.model, self.dir / layout)

    def test_files_of_tensor_parallel_ranks_need_the_mirror_layout(self):
        for rank in range(2):
            weights(self.model / f"model-rank-{rank}-part-0.safetensors", layers(0, 3))
        seed, ticket = self.seed(self.model)
        ended = self.start_fetch(ticket, self.dir / "t", "--layers", "0-1").end()
        self.assertNotEqual(ended.code, 0)
        for word in ("two files", "rank", "--layout mirror"):
            self.assertIn(word, ended.stderr)
        self.fetch(ticket, self.dir / "t", "--layers", "0-1", "--layout", "mirror")
        self.assertEqual({path.name for path in (self.dir / "t").glob("*.safetensors")},
                         {"model-rank-0-part-0.safetensors", "model-rank-1-part-0.safetensors"})

    # --- what is stale or odd ---

    def test_what_is_odd_is_named_and_the_rest_travels(self):
        weights(self.model / "model.safetensors", layers(0, 3))
        index(self.model / "model.safetensors.index.json", {"gone-00001-of-00001.safetensors":
                                                           layers(0, 3)})
        write(self.model / "side.safetensors", struct.pack("<Q", 4) + b"{}\0\0")
        write(self.model / "tokenizer.model", POINTER)
        os.symlink("gone", self.model / "dangling.json")
        os.symlink(".", self.model / "loop")
        os.mkfifo(self.model / "pipe")
        said = self.index_it().stderr
        for word in ("model.safetensors.index.json", "side.safetensors", "zero bytes",
                     "tokenizer.model", "git lfs pull", "dangling.json", "loop", "pipe"):
            self.assertIn(word, said)
        seed, ticket = self.seed(self.model)
        self.fetch(ticket, self.dir / "t")
        for name in ("dangling.json", "loop", "pipe"):
            (self.model / name).unlink()
        self.assert_same_tree(self.model, self.dir / "t")
        seed.kill()

    def test_weights_that_are_not_there_are_refused(self):
        first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
        weights(self.model / first, layers(0, 1))
        index(self.model / "model.safetensors.index.json", {first: layers(0, 1), second: layers(2, 3)})
        self.assertIn(second, self.index_it(code=1).stderr)
        write(self.model / second, POINTER)
        said = self.index_it(code=1).stderr
        self.assertIn("git lfs pull", said)
        self.assertIn(second, said)
        weights(self.model / second, layers(2, 3))
        whole = (self.model / second).read_bytes()
        write(self.model / second, whole[:-1])
        self.assertIn("incomplete", self.index_it(code=1).stderr)
        write(self.model / second, whole)
        self.index_it()

    # --- hub caches ---

    def test_a_repository_of_a_hub_cache_is_its_snapshot(self):
        repository = self.dir / "hub" / "models--org--name"
        commit = "0123456789abcdef0123456789abcdef01234567"
        weights(repository / "blobs" / "aaaa", layers(0, 3))
        write(repository / "blobs" / "bbbb", "{}")
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        os.symlink("../../blobs/aaaa", snapshot / "model.safetensors")
        os.symlink("../../blobs/bbbb", snapshot / "config.json")
        write(repository / "refs" / "main", commit)
        ended = self.index_it(repository)
        self.assertIn(commit, ended.stderr)
        self.assertEqual(json.loads(ended.stdout)["files"], 2)
        self.assertTrue(json.loads(self.index_it(snapshot).stdout)["reused"])
        self.assertEqual(self.run_command("verify", repository).code, 0)
        seed, ticket = self.seed(repository)
        self.fetch(ticket, self.dir / "t")
        self.assert_same_tree(snapshot, self.dir / "t")
        self.assertIn(str(repository), self.index_it(self.dir / "hub", code=2).stderr)

    # --- names ---

    def test_all_names_that_unix_allows_travel_in_every_layout(self):
        weights(self.model / "model.safetensors", layers(0, 3))
        for name in (b"new\nline.txt", b"back\\slash.txt", b"latin\xe9.txt", b"tab\t.txt",
                     b"\x1b]52;c;cm0K\x07.txt", b"-rf", b"q?.txt", b"\xff/\xfe.txt"):
            path = pathlib.Path(os.fsdecode(os.fsencode(self.model) + b"/" + name))
            write(path, os.fsencode(path.name))
        seed, ticket = self.seed(self.model)
        for flags in ((), ("--layers", "0-3"), ("--layers", "0-3", "--layout", "mirror")):
            with self.subTest(flags):
                target = self.dir / f"t{len(flags)}"
                self.fetch(ticket, target, *flags)
                came = {path: digest for path, digest in tree(target).items()
                        if path.endswith((".txt", "-rf"))}
                self.assertEqual(came, {path: digest for path, digest in tree(self.model).items()
                                        if path.endswith((".txt", "-rf"))})
        ended = self.run_command("convert", self.dir / "t2", "--layout", "mirror")
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual(self.run_command("verify", self.dir / "t2", "--full").code, 0)
        self.assertTrue((self.dir / "t2" / "new\nline.txt").exists())

    # --- what somebody wrote into the target ---

    def test_an_edited_config_stays_and_is_named(self):
        weights(self.model / "model.safetensors", layers(0, 3))
        seed, ticket = self.seed(self.model)
        target = self.dir / "t"
        self.fetch(ticket, target, "--layers", "0-1")
        write(target / "config.json", '{"num_hidden_layers": 2}')
        ended = self.start_fetch(ticket, target, "--layers", "2").end()
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertIn("config.json", ended.stderr)
        self.assertEqual((target / "config.json").read_text(), '{"num_hidden_layers": 2}')
        self.assertEqual(sorted(read_model(target)), layers(0, 2))
        ended = self.run_command("verify", target)
        self.assertNotEqual(ended.code, 0)
        self.assertIn("config.json", ended.stdout + ended.stderr)

    def test_a_file_that_appears_meanwhile_is_not_replaced(self):
        write(self.model / "a.dat", random.Random(1).randbytes(3_000_000))
        seed, ticket = self.seed(self.model, "--upload-limit", "1MiB")
        fetch = self.start_fetch(ticket, self.dir / "t")
        # It has its directory, and nothing has a name yet.
        fetch.wait_for(lambda _: (self.dir / "t" / ".shardswarm" / "incoming").is_dir(), "the fetch")
        write(self.dir / "t" / "a.dat", "mine")
        ended = fetch.end()
        self.assertNotEqual(ended.code, 0)
        self.assertIn("a.dat", ended.stderr)
        self.assertEqual((self.dir / "t" / "a.dat").read_text(), "mine")


if __name__ == "__main__":
    unittest.main()
