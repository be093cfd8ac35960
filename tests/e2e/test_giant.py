"""A checkpoint of DeepSeek-V3's very shape, 689 GB of holes: a part of it costs a part of its
manifest, and little memory."""

import json
import os
import time
import unittest

from skips import skip
from swarm import SwarmTest, peer_of, read_header

MIB = 1 << 20
DIGEST = 32
STAGE = ("--stage", "3/8")


class GiantTest(SwarmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.times = {}

    def setUp(self):
        super().setUp()
        probe = self.dir / "probe"
        with open(probe, "wb") as file:
            file.truncate(1 << 40)
        holes = probe.stat().st_blocks * 512 < MIB
        probe.unlink()
        if not holes:
            skip(self, "this file system has no holes")
        self.source = self.timed("made", lambda: self.checkpoint(model="deepseek-v3", sparse=True))

    def timed(self, name, run):
        began = time.monotonic()
        result = run()
        self.times[name] = time.monotonic() - began
        return result

    def measured(self, *arguments, codes=(0,)):
        """What a command printed, and the most memory that it ever had."""
        process = self.start(*arguments)
        for reader in process.readers:
            reader.join()  # it closed its output: at its end
        _, status, usage = os.wait4(process.popen.pid, 0)
        process.popen.returncode = os.waitstatus_to_exitcode(status)
        ended = process.end()
        self.assertIn(ended.code, codes, ended.stderr)
        return ended, usage.ru_maxrss * 1024

    def check_memory(self, name, peak):
        if not os.environ.get("SHARDSWARM_SANITIZE"):  # which takes several times as much
            self.assertLess(peak, 512 * MIB, name)
        self.times[name + ", MiB"] = peak / MIB

    def test_a_stage_costs_a_part(self):
        index = self.timed("indexed", lambda: self.measured("index", self.source))
        self.check_memory("index", index[1])
        seeder, ticket = self.timed("seeding", lambda: self.seed(self.source))
        ended, peak = self.timed("inspected",
                                 lambda: self.measured("inspect", self.source, "--json", *STAGE))
        inspected = json.loads(ended.stdout)
        self.check_memory("inspect", peak)
        files = json.loads(self.run_command("inspect", self.source, "--json").stdout)["files"]
        pieces = {file["path"]: file["pieces"] for file in files}
        self.assertEqual(sum(path.endswith(".safetensors") for path in pieces), 163)

        # All that there is to know, as the seed's machine keeps it; in a model of zeros lists of the
        # same length are one blob, so the honest sum counts each file's own.
        kept = next((self.dir / "state" / "shardswarm" / "models").iterdir())
        root = (kept / "root").stat().st_size
        headers = sum(read_header(self.source / path)[0] for path in pieces
                      if path.endswith(".safetensors"))
        as_kept = root + sum(path.stat().st_size for path in (kept / "blobs").iterdir())
        honest = root + headers + DIGEST * sum(pieces.values())
        self.assertGreater(honest, as_kept)
        self.assertGreater(as_kept, headers)

        # The fetcher is another machine: it knows nothing.
        state = ("--state", self.dir / "elsewhere")
        # It ends with 5 where this disk has not the room of a real fetch.
        ended, peak = self.timed("planned", lambda: self.measured(
            "fetch", ticket, "--to", self.dir / "copy", "--dry-run", "--json", *STAGE, *state,
            codes=(0, 5)))
        plan = next(event for event in ended.events if event["event"] == "plan")
        self.check_memory("plan", peak)
        self.assertFalse((self.dir / "copy").exists())
        for field in ("selected_bytes", "wanted_bytes", "tensors", "pieces", "files"):
            self.assertEqual(plan[field], inspected[field])
        # Blobs come compressed, piece lists of the stage's files alone. Digests of real weights do
        # not compress as those of holes do: these lists count in full.
        lists = DIGEST * sum(pieces[path] for path in plan["files"])
        self.assertGreater(plan["manifest_bytes"], root)
        self.assertLessEqual(plan["manifest_bytes"], as_kept / 4)
        needed = plan["manifest_bytes"] + lists
        self.assertLessEqual(needed, honest / 4)

        # And a fetch gets just these: of the same files, the smallest tensor of each layer.
        with open("/proc/%d/status" % seeder.popen.pid, encoding="ascii") as status:
            high = next(line.split()[1] for line in status if line.startswith("VmHWM"))
        self.check_memory("seed", int(high) * 1024)
        layers = sorted({name.split(".")[2] for path in plan["files"] if path.endswith(".safetensors")
                         for name in read_header(self.source / path)[1]}, key=int)
        globs = [word for layer in layers
                 for word in ("--tensors", f"model.layers.{layer}.self_attn.kv_a_layernorm.weight")]
        ended, peak = self.timed("fetched norms", lambda: self.measured(
            "fetch", ticket, "--to", self.dir / "norms", "--json", "--no-reuse", *globs, *state))
        done = ended.done
        self.check_memory("fetch", peak)
        self.assertEqual(done["peers"][0]["address"], peer_of(ticket))
        self.assertLess(done["wanted_bytes"], 2 * MIB + sum(
            path.stat().st_size for path in self.source.iterdir() if path.suffix == ".json"))
        self.assertLessEqual(done["manifest_bytes"], as_kept / 4)
        self.assertLessEqual(done["manifest_bytes"] + lists, honest / 4)
        print(f"stage 3/8 of {plan['wanted_bytes'] / 1e9:.0f} GB: headers came as "
              f"{plan['manifest_bytes']} bytes of {headers + root}, with lists {needed / honest:.3f} of "
              f"the {honest} bytes of the whole manifest; "
              + ", ".join(f"{name} {value:.1f}" for name, value in self.times.items()))


if __name__ == "__main__":
    unittest.main()
