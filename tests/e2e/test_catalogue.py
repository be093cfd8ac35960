"""What a machine says it holds: list and forget."""

import json
import shutil

from swarm import SwarmTest, plain_bytes, tensor_bytes, tensors, tree


class CatalogueTest(SwarmTest):
    def listed(self):
        ended = self.run_command("list", "--json")
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual(ended.stderr, "")
        return {entry["directory"]: entry for entry in json.loads(ended.stdout)}

    def test_nothing_is_listed_before_anything_was_indexed(self):
        self.assertEqual(self.listed(), {})
        ended = self.run_command("list")
        self.assertEqual((ended.code, ended.stdout), (0, ""))
        self.assertIn("knows no directories", ended.stderr)
        self.assertFalse((self.dir / "state").exists())

    def test_indexed_and_seeded_directories_are_listed(self):
        one, two = self.checkpoint("one", size="4MiB", layers=2), self.checkpoint(
            "two", size="4MiB", layers=3)
        model = self.run_command("index", one).stdout.strip()
        _, ticket = self.seed(two)
        held = self.listed()
        self.assertEqual(list(held), [str(one.resolve()), str(two.resolve())])
        entry = held[str(one.resolve())]
        self.assertEqual(entry["id"], model)
        self.assertEqual(entry["layout"], "original")
        self.assertEqual(entry["total_bytes"], tensor_bytes(one, lambda name: True) + plain_bytes(one))
        self.assertEqual(entry["present_bytes"], entry["total_bytes"])
        self.assertTrue(entry["complete"])
        self.assertFalse(entry["changed"])
        self.assertIn(held[str(two.resolve())]["id"], ticket)
        table = self.run_command("list").stdout.splitlines()
        self.assertEqual(len(table), 3)
        self.assertIn(model[:12], table[1])
        self.assertNotIn(model[:13], table[1])
        self.assertIn("complete", table[1])

    def test_a_part_that_is_seeded_is_listed_as_a_part(self):
        source = self.checkpoint(size="8MiB", layers=4)
        _, ticket = self.seed(source)
        copy = self.dir / "copy"
        done = self.fetch(ticket, copy, "--layers", "1-2")
        self.seed(copy)
        entry = self.listed()[str(copy.resolve())]
        self.assertEqual(entry["layout"], "compact")
        self.assertFalse(entry["complete"])
        self.assertFalse(entry["changed"])
        self.assertLessEqual(entry["present_bytes"], done["wanted_bytes"])
        self.assertGreater(entry["present_bytes"], 0)
        self.assertLess(entry["present_bytes"], entry["total_bytes"])
        self.assertIn("partial", self.run_command("list").stdout)

    def test_which_part_is_here(self):
        source = self.checkpoint(size="8MiB", layers=4)
        (source / "model.gguf").write_bytes(b"weights of another format")
        _, ticket = self.seed(source)
        copy = self.dir / "copy"
        self.fetch(ticket, copy, "--layers", "1-2")
        outside = [name for name in tensors(source) if ".layers." not in name]
        said = "layers 1-2, 4 of 5 other files"
        self.assertIn(f"{copy.resolve()} holds {said}", self.run_command("list").stdout.splitlines())
        self.assertRegex(self.run_command("inspect", copy).stdout,
                         rf"\nhere    {said}: [0-9.]+ MiB of [0-9.]+ MiB\n")
        holds = self.listed()[str(copy.resolve())]["holds"]
        self.assertEqual([(s["layers"], s["layers_in_part"], s["of"]) for s in holds["stacks"]],
                         [("1-2", "", 4)])
        self.assertEqual((holds["outside"], holds["outside_of"]), ([], len(outside)))
        self.assertNotIn("model.gguf", holds["files"])
        self.assertEqual(holds["files_of"], len(holds["files"]) + 1)
        here = json.loads(self.run_command("inspect", copy, "--json").stdout)["here"]
        entry = self.listed()[str(copy.resolve())]
        self.assertEqual(here, {key: entry[key] for key in here})
        # Another step, and a tensor alone of a further layer.
        self.fetch(ticket, copy, "--layers", "3", "--tensors", "*.layers.0.*q_proj.weight")
        self.assertIn("holds layers 1-3, layer 0 in part, ", self.run_command("list").stdout)
        # A directory that holds all of it needs no word of it, nor does what is no directory.
        self.assertIsNone(self.listed()[str(source.resolve())]["holds"])
        self.assertIn("\nhere    everything: ", self.run_command("inspect", source).stdout)
        self.assertNotIn("\nhere  ", self.run_command("inspect", entry["id"]).stdout)
        self.assertIsNone(json.loads(self.run_command("inspect", entry["id"], "--json").stdout)["here"])

    def test_changed_and_deleted_directories(self):
        for name in ("changed", "deleted"):
            self.run_command("index", self.checkpoint(name, size="4MiB", layers=2))
        (self.dir / "changed" / "config.json").write_text("{}")
        shutil.rmtree(self.dir / "deleted")
        held = self.listed()
        self.assertEqual(list(held), [str((self.dir / "changed").resolve())])
        self.assertTrue(held[str((self.dir / "changed").resolve())]["changed"])
        self.assertIn("changed", self.run_command("list").stdout.splitlines()[1].split()[-1])

    def test_forget_leaves_the_directory_alone(self):
        source = self.checkpoint(size="4MiB", layers=2)
        before = tree(source)
        model = self.run_command("index", source).stdout.strip()
        self.assertEqual(self.run_command("inspect", model).code, 0)
        ended = self.run_command("forget", source)
        self.assertEqual((ended.code, ended.stdout), (0, ""))
        self.assertIn(f"{source} is no longer in the list", ended.stderr)
        self.assertEqual(self.listed(), {})
        self.assertEqual(tree(source), before)
        self.assertEqual(self.run_command("inspect", model).code, 1, "its manifest went, too")
        again = self.run_command("forget", source)
        self.assertEqual(again.code, 1)
        self.assertIn(str(source), again.stderr)
        self.assertRegex(again.stderr, "^shardswarm: error: .*list")
        self.assertEqual(self.run_command("index", source).stdout.strip(), model)
        self.assertEqual(len(self.listed()), 1)

    def test_usage(self):
        for arguments in (("forget",), ("list", "x"), ("forget", "a", "b")):
            self.assertEqual(self.run_command(*arguments).code, 2)

    def test_what_cannot_be_registered_is_seeded_all_the_same(self):
        source = self.checkpoint(size="4MiB", layers=2)
        (self.dir / "state" / "shardswarm").mkdir(parents=True)
        (self.dir / "state" / "shardswarm" / "catalogue").write_text("in the way")
        seed, ticket = self.seed(source)
        self.fetch(ticket, self.dir / "copy")
        ended = seed.signal(15)
        self.assertIn("it is missing in `shardswarm list`: ", ended.stderr)
