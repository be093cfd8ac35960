"""Which files a fetch brings: all of them without a selection; of a part the configuration and the small
ones, with a word on each that is left out."""

import json
import re

from swarm import SwarmTest, tree

LARGE = 70 << 20  # beyond the 64 MiB up to which files come with a part whatever they are


class LeftOutTest(SwarmTest):
    def setUp(self):
        super().setUp()
        self.source = self.checkpoint(size="4MiB", layers=4, files=2, consolidated=True)
        for name, size in (("model-Q4.gguf", 3000), ("onnx/model.onnx", 300),
                           ("onnx/model.onnx_data", 5000), ("tokenizer.json", LARGE),
                           ("demo.mp4", LARGE), ("NOTICE", 30)):
            path = self.source / name
            path.parent.mkdir(exist_ok=True)
            with open(path, "wb") as file:
                file.write(name.encode())
                file.truncate(size)
        _, self.ticket = self.seed(self.source)
        self.left_out = {"consolidated.safetensors": "second_copy", "demo.mp4": "large",
                         "model-Q4.gguf": "other_format", "onnx/model.onnx": "other_format",
                         "onnx/model.onnx_data": "other_format",
                         "original/consolidated.00.pth": "other_format"}

    def check_left_out(self, event):
        self.assertEqual({left["path"]: left["why"] for left in event["left_out"]}, self.left_out)
        sizes = {path: (self.source / path).stat().st_size for path in self.left_out}
        self.assertEqual({left["path"]: left["bytes"] for left in event["left_out"]}, sizes)
        self.assertEqual(event["left_out_files"], len(sizes))
        self.assertEqual(event["left_out_bytes"], sum(sizes.values()))
        self.assertIn("--files", event["left_out_flags"])

    def test_without_a_selection_every_file_comes(self):
        done = self.fetch(self.ticket, self.dir / "copy")
        self.assert_same_tree(self.source, self.dir / "copy")
        self.assertEqual((done["left_out"], done["left_out_files"], done["left_out_flags"]), ([], 0, ""))
        self.assertEqual(done["layout"], "original")
        # And stays through the other layout.
        for layout in ("compact", "original"):
            ended = self.run_command("convert", self.dir / "copy", "--layout", layout)
            self.assertEqual(ended.code, 0, ended.stderr)
        self.assert_same_tree(self.source, self.dir / "copy")

    def test_a_part_names_what_it_leaves_out(self):
        done = self.fetch(self.ticket, self.dir / "copy", "--layers", "1")
        self.check_left_out(done)
        came = tree(self.dir / "copy")
        self.assertFalse(set(self.left_out) & set(came))
        for name in ("tokenizer.json", "config.json", "NOTICE"):
            self.assertEqual(came[name], tree(self.source)[name])
        # It is widened to the whole, by its flags or by asking for everything.
        flags = [word.strip("'") for word in done["left_out_flags"].split()]
        self.fetch(self.ticket, self.dir / "copy", "--layers", "1", *flags)
        self.assertLessEqual(set(self.left_out), set(tree(self.dir / "copy")))
        self.fetch(self.ticket, self.dir / "other", "--layers", "1")
        self.assertEqual(self.fetch(self.ticket, self.dir / "other")["left_out"], [])
        ended = self.run_command("convert", self.dir / "other", "--layout", "original")
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assert_same_tree(self.source, self.dir / "other")

    def test_what_is_here_already_was_not_left_out(self):
        copy = self.dir / "copy"
        self.fetch(self.ticket, copy, "--files", "model-Q4.gguf")
        plan = self.start_fetch(self.ticket, copy, "--layers", "1", "--dry-run").end().events[0]
        done = self.fetch(self.ticket, copy, "--layers", "1")
        del self.left_out["model-Q4.gguf"]
        self.check_left_out(plan)
        self.check_left_out(done)

    def test_plans_and_people_are_told_too(self):
        plan = self.start_fetch(self.ticket, self.dir / "copy", "--layers", "1", "--dry-run").end()
        self.assertEqual([event["event"] for event in plan.events], ["plan"])
        self.check_left_out(plan.events[0])
        inspected = self.run_command("inspect", self.ticket, "--layers", "1", "--json")
        self.check_left_out(json.loads(inspected.stdout))
        said = [self.run_command("inspect", self.ticket, "--layers", "1").stdout,
                self.run_command("fetch", self.ticket, "--to", self.dir / "copy", "--layers", "1",
                                 "--dry-run").stdout,
                self.run_command("fetch", self.ticket, "--to", self.dir / "copy", "--layers", "1").stderr]
        for text in said:
            for word in ("left out: 6 files", "model-Q4.gguf", "weights of another format",
                         "a second copy of the weights", "larger than 64 MiB", "--files"):
                self.assertIn(word, text)
        quiet = self.run_command("fetch", self.ticket, "--to", self.dir / "quiet", "--layers", "1", "-q")
        self.assertEqual(quiet.stderr, "")

    def test_a_glob_that_matches_nothing_is_told_what_would(self):
        def said(glob):
            ended = self.run_command("fetch", self.ticket, self.dir / "copy", "--files", glob, "--dry-run")
            self.assertEqual(ended.code, 2)
            return ended.stderr
        for glob in ("Q4", "*Q4", "Q4*"):
            self.assertIn("whole path has to match: '*Q4*' matches 'model-Q4.gguf'\n", said(glob))
        names = said("*.onyx")
        self.assertIn("'demo.mp4'", names)
        self.assertNotIn("has to match", names)
        for i in range(20):
            (self.source / f"note{i:02}.txt").write_text("a note")
        _, self.ticket = self.seed(self.source)
        names = said("nothing")
        self.assertEqual(len(re.findall(r"'[^' ]+'", names)), 1 + 10, names)
        self.assertRegex(names, r" and \d+ more")

    def test_files_alone_are_a_part(self):
        done = self.fetch(self.ticket, self.dir / "copy", "--files", "*Q4*")
        came = set(tree(self.dir / "copy")) - {"shard.json"}
        self.assertIn("model-Q4.gguf", came)
        self.assertIn("tokenizer.json", came)
        self.assertFalse([path for path in came if path.endswith((".safetensors", ".onnx", ".mp4"))])
        self.assertNotIn("model-Q4.gguf", {left["path"] for left in done["left_out"]})
