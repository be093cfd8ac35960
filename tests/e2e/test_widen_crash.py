"""Killed at any moment of a widening, a compact shard is the old one or the new one, never a mixture,
and the same fetch makes it the new one."""

import json
import os
import random
import shutil
import unittest

from reader import INDEX, check_shard, plain_files, read_file, read_model, wanted_of
from swarm import Proxy, SwarmTest, peer_of, through

KILLS = 50


class Step:
    """A widening: two selections, and what of the model the directory holds before and after."""

    def __init__(self, first, second, before, after):
        self.first, self.second, self.before, self.after = first, second, before, after


class WidenCrashTest(SwarmTest):
    def held(self, model, names, rows=None):
        rows = rows or {}
        return wanted_of(model, names, rows), {name: part for name, part in rows.items() if names(name)}

    def plain_step(self, model):
        layer = lambda *numbers: lambda name: name.startswith(
            tuple(f"model.layers.{number}." for number in numbers))
        return Step(("--layers", "1"), ("--layers", "2"), self.held(model, layer(1)),
                    self.held(model, layer(1, 2)))

    def outside_step(self, model):
        names = lambda *starts: lambda name: name.startswith(starts)
        return Step(("--layers", "0"), ("--stage", "4/4"),
                    self.held(model, names("model.layers.0.", "model.embed_tokens.")),
                    self.held(model, names("model.layers.0.", "model.layers.3.", "model.embed_tokens.",
                                           "model.norm.", "lm_head.")))

    def slice_step(self, model, count=4):
        """q_proj is less than a piece, gate_proj several."""
        flags = lambda rank: ("--layers", "1", "--slice", f"*.q_proj.*:{rank}/{count}",
                              "--slice", f"*.gate_proj.*:{rank}/{count}")
        names = lambda name: name.startswith("model.layers.1.")
        sliced = [name for name in model if names(name) and ("q_proj" in name or "gate_proj" in name)]
        rows = lambda parts: {name: (0, model[name].shape[0] * parts // count) for name in sliced}
        return Step(flags(0), flags(1), self.held(model, names, rows(1)),
                    self.held(model, names, rows(2)))

    def slice_to_whole_step(self, model):
        step = self.slice_step(model)
        names = lambda name: name.startswith(("model.layers.1.", "model.layers.2."))
        return Step(step.first, ("--layers", "1-2"), step.before, self.held(model, names))

    # --- where to kill ---

    def signs(self, copy, proxy, chance):
        """(name, what shows that the moment has come). All of them only look."""
        def stamp(path):
            try:
                stat = os.stat(path)
                return stat.st_ino, stat.st_mtime_ns
            except FileNotFoundError:
                return None

        def changes(path):
            before = stamp(path)
            return lambda: stamp(path) != before

        names = set(os.listdir(copy))
        goal = proxy.down + chance.randrange(8 << 20)
        return {
            "start": lambda: True,
            "bytes": lambda: stamp(copy) and proxy.down >= goal,
            "ledger": changes(copy / ".shardswarm" / "ledger"),
            "name": lambda: bool(set(os.listdir(copy)) - names),
            "holding": changes(copy / ".shardswarm" / "holding"),
            "index": changes(copy / ("model" + INDEX)),
            "shard": changes(copy / "shard.json"),
        }

    def kill(self, process, sign, copy, looks):
        while process.popen.poll() is None and not sign():
            pass
        for _ in range(looks):
            os.stat(copy)
        return process.kill()

    # --- what is there then ---

    def state(self, copy, step):
        """'old' or 'new' if shard.json says complete: all its files are there and hold just this."""
        shard = json.loads((copy / "shard.json").read_text())
        index = json.loads((copy / ("model" + INDEX)).read_text())
        (old, _), (new, _) = step.before, step.after
        content = {}
        for file in set(index["weight_map"].values()) | {file["path"] for file in shard["files"]}:
            content[file] = read_file(copy / file)[0]  # which fails if it is not there
        for name, file in index["weight_map"].items():
            self.assertIn(content[file][name], (old.get(name), new.get(name)), name)
        if not shard["complete"]:
            return "incomplete"
        tensors = {}
        for file in shard["files"]:
            for name, tensor in content[file["path"]].items():
                self.assertNotIn(name, tensors)
                tensors[name] = tensor
        self.assertEqual(shard["tensors"], len(tensors))
        self.assertIn(set(tensors), (set(old), set(new)))
        if tensors == new:
            return "new"
        self.assertTrue(tensors == old, "tensors of neither shard")
        return "old"

    def test_killed_at_fifty_moments(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=8, layers=4, vocabulary=512)
        _, ticket = self.seed(source)
        model = read_model(source)
        steps = [self.plain_step(model), self.slice_step(model), self.outside_step(model),
                 self.slice_to_whole_step(model)]
        proxy = Proxy(peer_of(ticket))
        self.addCleanup(proxy.close)
        chance = random.Random(11)
        counts, at_end = {}, 0
        for number in range(KILLS):
            step = steps[number % len(steps)]
            copy = self.dir / f"copy{number}"
            self.fetch(ticket, copy, *step.first)
            check_shard(self, source, copy, *step.before)
            signs = self.signs(copy, proxy, chance)
            sign = list(signs)[number // len(steps) % len(signs)]
            # A look takes about a microsecond: up to some milliseconds later.
            looks = chance.randrange(20_000 if sign == "start" else 2_000)
            if chance.randrange(3) == 0:
                looks = 0
            place = through(ticket, proxy) if sign == "bytes" else ticket
            ended = self.kill(self.start_fetch(place, copy, *step.second), signs[sign], copy, looks)
            with self.subTest(kill=number, at=sign, looks=looks):
                found = self.state(copy, step)
                finished = '"done"' in ended.stdout
                at_end += finished
                if finished:
                    self.assertEqual(found, "new")
                counts[found] = counts.get(found, 0) + 1
                self.fetch(ticket, copy, *step.second)
                check_shard(self, source, copy, *step.after)
                self.assertEqual(plain_files(copy), plain_files(source))
                self.assertEqual(list((copy / ".shardswarm" / "incoming").glob("*")), [])
            shutil.rmtree(copy)
        print(f"{KILLS} kills: {counts.get('old', 0)} before the commit, {counts.get('new', 0)} after it "
              f"({at_end} had said done), {counts.get('incomplete', 0)} where shard.json said incomplete")
        self.assertGreater(counts.get("old", 0), 0)
        self.assertGreater(counts.get("new", 0), 0)

    def test_killed_while_dropping(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=8, layers=4, vocabulary=512)
        _, ticket = self.seed(source)
        step = self.plain_step(read_model(source))
        step.before, step.after = step.after, step.before
        proxy = Proxy(peer_of(ticket))
        self.addCleanup(proxy.close)
        chance = random.Random(5)
        counts = {}
        for number, name in enumerate(("start", "ledger", "holding", "index", "shard") * 3):
            copy = self.dir / f"copy{number}"
            self.fetch(ticket, copy, "--layers", "1-2")
            sign = self.signs(copy, proxy, chance)[name]
            self.kill(self.start("drop", copy, "--layers", "2"), sign, copy,
                      chance.randrange(2_000) if number % 3 else 0)
            with self.subTest(kill=number, at=name):
                found = self.state(copy, step)
                counts[found] = counts.get(found, 0) + 1
                # Where it had not happened it happens now; where it had, layer 2 is not there.
                ended = self.run_command("drop", copy, "--layers", "2")
                self.assertEqual(ended.code, 0, ended.stderr)
                check_shard(self, source, copy, *step.after)
                self.assertEqual(self.run_command("verify", copy, "--full").code, 0)
            shutil.rmtree(copy)
        print(f"15 kills of drop: {counts}")

    def test_killed_while_converting(self):
        source = self.checkpoint(model="llama-3.1-8b", divide=8, layers=4, vocabulary=512, files=2)
        seeder, ticket = self.seed(source)
        step = self.plain_step(read_model(source))
        wanted = step.after[0]
        self.fetch(ticket, self.dir / "copy", "--layers", "1-2")
        seeder.kill()  # nothing of this needs the network
        copy, chance, decided = self.dir / "copy", random.Random(3), 0
        meta = copy / ".shardswarm"
        for number in range(20):
            layout = ("mirror", "compact")[number % 2]
            sign = {"start": lambda: True, "staged": (meta / "convert").exists,
                    "decided": (meta / "converted").exists,
                    "moved": lambda: (copy / "shard.json").exists() == (layout == "compact"),
                    }[("start", "staged", "decided", "moved")[number // 2 % 4]]
            self.kill(self.start("convert", copy, "--layout", layout), sign, copy,
                      chance.randrange(2_000) if number % 3 else 0)
            decided += (meta / "converted").exists()
            ended = self.run_command("convert", copy, "--layout", layout)
            self.assertIn(ended.code, (0, 2), ended.stderr)
            if ended.code == 2:
                self.assertIn("already", ended.stderr)
            with self.subTest(kill=number, layout=layout):
                if layout == "compact":
                    check_shard(self, source, copy, *step.after)
                else:
                    held = read_model(copy)
                    self.assertEqual({name: held[name] for name in wanted}, wanted)
                    self.assertFalse((copy / "shard.json").exists())
                self.assertFalse((meta / "convert").exists() or (meta / "converted").exists())
                self.assertEqual(self.run_command("verify", copy, "--full").code, 0)
        print(f"20 kills of convert, {decided} while files were moved")


if __name__ == "__main__":
    unittest.main()
