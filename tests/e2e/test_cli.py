"""What the command promises to scripts: output, exit codes, and one line about what was wrong."""

import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading
import unittest

from skips import skip
from swarm import BIN, SwarmTest, id_of, in_layers, peer_of, read_header, tensors, ticket_of, tree

ID = "ab" * 32
NOBODY = "127.0.0.1:1"


class CliTest(SwarmTest):
    def assert_refused(self, ended, code, *words):
        """Ended with this code, nothing that looks like a result, and one line that says what."""
        self.assertEqual(ended.code, code, ended.stderr)
        lines = [line for line in ended.stderr.splitlines() if line.startswith("shardswarm: error: ")]
        self.assertEqual(len(lines), 1, ended.stderr)
        for word in words:
            self.assertIn(str(word), lines[0])
        self.assertNotIn('"done"', ended.stdout)


class ContractTest(CliTest):
    def test_index_prints_the_id_last_and_hashes_once(self):
        source = self.checkpoint(size="8MiB", layers=2)
        first = self.run_command("index", source)
        self.assertEqual(first.code, 0, first.stderr)
        self.assertRegex(first.stdout.splitlines()[-1], "^[0-9a-f]{64}$")
        again = json.loads(self.run_command("index", source, "--json").stdout)
        self.assertEqual(again["id"], first.stdout.strip())
        self.assertTrue(again["reused"])
        self.assertEqual(again["tensors"], len(tensors(source)))
        self.assertEqual(again["files"], len(tree(source)))
        elsewhere = self.run_command("index", source, "--state", self.dir / "other state")
        self.assertEqual(elsewhere.stdout, first.stdout)
        self.assertEqual([path.name for path in source.iterdir() if path.name.startswith(".")], [])

    def test_the_id_depends_on_content_alone(self):
        source = self.checkpoint(size="4MiB", layers=2)
        shutil.copytree(source, self.dir / "copy")
        (self.dir / "copy" / ".cache").mkdir()
        (self.dir / "copy" / ".cache" / "x").write_text("not of the model")
        self.assertEqual(self.run_command("index", source).stdout,
                         self.run_command("index", self.dir / "copy").stdout)
        (self.dir / "copy" / "config.json").write_text("{}")
        self.assertNotEqual(self.run_command("index", source).stdout,
                            self.run_command("index", self.dir / "copy").stdout)

    def test_done_tells_which_engine_ran(self):
        source = self.checkpoint(size="16MiB", layers=4)
        _, ticket = self.seed(source)
        posix = self.fetch(ticket, self.dir / "posix", "--io", "posix")["engine"]
        self.assertEqual(posix["name"], "posix")
        if os.environ.get("SHARDSWARM_URING") == "0":
            skip(self, "built without io_uring")
        uring = self.fetch(ticket, self.dir / "uring", "--io", "uring")["engine"]
        self.assertEqual(uring["name"], "uring")
        self.assertGreater(uring["submissions"], 0)
        self.assertGreaterEqual(uring["operations"], 16)  # writes of 1 MiB at most
        self.assertEqual(self.fetch(ticket, self.dir / "auto")["engine"]["name"], "uring")

    def test_events_are_one_object_a_line(self):
        source = self.checkpoint(size="16MiB", layers=4)
        _, ticket = self.seed(source)
        ended = self.start_fetch(ticket, self.dir / "copy").end()
        events = [json.loads(line) for line in ended.stdout.splitlines()]
        self.assertEqual(events[-1]["event"], "done")
        self.assertLessEqual({event["event"] for event in events},
                             {"progress", "peer_joined", "peer_lost", "file_done", "done"})
        for event in events:
            self.assertEqual(event["schema"], 1)
            self.assertEqual(event["host"], socket.gethostname())
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        joined = [event["address"] for event in events if event["event"] == "peer_joined"]
        self.assertEqual(joined, [peer_of(ticket)])
        self.assertEqual(sorted(event["path"] for event in events if event["event"] == "file_done"),
                         sorted(str(path.relative_to(source)) for path in source.rglob("*")
                                if path.is_file()))
        for field in ("seconds", "wanted_bytes", "fetched_bytes", "duplicate_bytes", "control_bytes",
                      "manifest_bytes", "reused_bytes", "sent_bytes", "peak_private_bytes", "memory", "peers"):
            self.assertIn(field, events[-1])
        self.assertEqual(events[-1]["peers"][0]["address"], peer_of(ticket))
        present = [event["present_bytes"] for event in events if event["event"] == "progress"]
        self.assertEqual(present, sorted(present))
        self.assertEqual(ended.stderr, "")

    def test_the_example_of_the_manual_runs(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text()
        text = page.split("### An example\n")[1].split("\n## ")[0]
        lines = [line[4:] for line in text.splitlines() if line.startswith("    ") or not line]
        program = self.dir / "example.py"
        program.write_text("\n".join(lines))
        source = self.checkpoint(size="4MiB", layers=4)
        _, ticket = self.seed(source, "--listen", "127.0.0.1:0")
        env = {**self.env, "PATH": f"{BIN}:{os.environ['PATH']}"}
        for directory, code, said in ((self.dir / "copy", 0, f"{id_of(ticket)} compact "),
                                      (self.dir / "copy" / "config.json", 1, "")):
            ended = subprocess.run([sys.executable, program, ticket, directory], env=env, text=True,
                                   capture_output=True, timeout=60)
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertTrue(ended.stdout.startswith(said), ended.stdout)
        self.assertRegex(ended.stderr, r"[a-z-]+: .*config\.json")
        self.assert_has_tensors(source, self.dir / "copy", in_layers(0, 1, 4))

    def test_done_tells_where_memory_went(self):
        source = self.checkpoint(size="64MiB", layers=4)
        _, ticket = self.seed(source)
        done = self.fetch(ticket, self.dir / "copy")
        memory = done["memory"]
        self.assertLessEqual(1 << 20, memory["pool_peak_bytes"])
        self.assertLessEqual(memory["pool_peak_bytes"], memory["pool_bytes_max"])
        self.assertLessEqual(1 << 20, memory["undurable_peak_bytes"])
        self.assertLessEqual(memory["undurable_peak_bytes"], memory["undurable_bytes_max"])
        kept = next((self.dir / "state" / "shardswarm" / "models").iterdir())
        blobs = sum(path.stat().st_size for path in (kept / "blobs").iterdir())
        self.assertEqual(memory["manifest_bytes"], blobs + (kept / "root").stat().st_size)
        self.assertGreater(memory["piece_state_bytes_max"], done["wanted_bytes"] >> 20)
        if not os.environ.get("SHARDSWARM_SANITIZE"):  # which takes several times as much
            self.assertLessEqual(done["peak_private_bytes"],
                                 (128 << 20) + memory["manifest_bytes"])

    def test_verify_names_what_is_wrong(self):
        source = self.checkpoint(size="16MiB", layers=4, files=2)
        _, ticket = self.seed(source)
        self.fetch(ticket, self.dir / "copy", "--layers", "1-2")
        ended = self.run_command("verify", self.dir / "copy")
        self.assertEqual(ended.code, 0)
        self.assertRegex(ended.stderr, r"0 wrong; \d+ pieces of the model not part of what was fetched\n")
        self.assertNotIn("not here", ended.stderr)
        counts = json.loads(self.run_command("verify", self.dir / "copy", "--json").stdout)
        self.assertGreater(counts["missing_pieces"], 0)
        self.assertEqual(counts["unselected_pieces"], counts["missing_pieces"])
        victim = sorted((self.dir / "copy").glob("*.safetensors"))[0]
        entry = next(e for n, e in read_header(victim)[1].items() if ".layers.1." in n)
        with open(victim, "r+b") as file:
            base = 8 + struct.unpack("<Q", file.read(8))[0]
            file.seek(base + entry["data_offsets"][0])
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
        for flags in ((), ("--full",)):
            ended = self.run_command("verify", self.dir / "copy", *flags)
            self.assertEqual(ended.code, 4)
            self.assertIn(victim.name, ended.stdout)
            self.assertIn(".layers.1.", ended.stdout)
        # Fetching again mends it.
        self.fetch(ticket, self.dir / "copy", "--layers", "1-2")
        self.assert_has_tensors(source, self.dir / "copy", in_layers(1, 2, 4))

    def test_verify_repairs_rot_from_a_peer(self):
        source = self.checkpoint(size="16MiB", layers=4, files=2)
        (source / "extra").mkdir()
        (source / "extra" / "vocabulary.bin").write_bytes(os.urandom(50_000))
        self.assertEqual(self.run_command("index", source).code, 0)
        _, ticket = self.seed(source)
        peer = ("--peer", peer_of(ticket))
        q_proj = "*.layers.1.*q_proj.weight:0/2"
        for name, steps in (("whole", ((),)), ("part", (("--layers", "1-2"),)),
                            ("mirror", (("--layers", "1", "--layout", "mirror"),)),
                            ("sliced", (("--layers", "1", "--slice", q_proj), ("--layers", "2"))),
                            ("dropped", (("--layers", "0-2"), "drop")),
                            ("file", (("--layers", "0", "--files", "extra/*"), ("--layers", "1")))):
            with self.subTest(name):
                # Another machine than the source's: nothing is taken from other directories.
                self.env["XDG_STATE_HOME"] = str(self.dir / f"machine of {name}")
                copy = self.dir / name
                for step in steps:
                    if step == "drop":
                        self.assertEqual(self.run_command("drop", copy, "--layers", "0").code, 0)
                    else:
                        self.fetch(ticket, copy, *step)
                before = tree(copy)
                files = sorted(copy.glob("*.safetensors"))
                if name != "mirror":            # where the last bytes are a hole
                    self.rot(files[0])
                self.rot(files[-1], at=20)      # a header, which no piece covers
                self.rot(copy / "config.json", at=-2)
                if name == "file":
                    self.rot(copy / "extra" / "vocabulary.bin")
                ended = self.run_command("verify", copy)
                self.assertEqual(ended.code, 4, ended.stderr)
                self.assertIn("--repair --peer", ended.stderr)
                self.assert_refused(self.run_command("verify", copy, "--repair"), 2, "--peer")
                # A repair that fails is no repair, however often it is tried.
                for _ in range(2):
                    failed = self.run_command("verify", copy, "--repair", "--peer", NOBODY,
                                              "--stall-timeout", "500ms")
                    self.assertNotEqual(failed.code, 0)
                    self.assertEqual(self.run_command("verify", copy).code, 4)
                ended = self.run_command("verify", copy, "--repair", "--json", *peer)
                self.assertEqual(ended.code, 0, ended.stderr)
                self.assertGreater(json.loads(ended.stdout)["repaired_bytes"], 0)
                self.assertEqual(tree(copy), before)
                ended = self.run_command("verify", copy, "--full", "--repair", "--json", *peer)
                self.assertEqual((ended.code, json.loads(ended.stdout)["repaired_bytes"]), (0, 0))

    def test_a_repair_leaves_an_edited_file(self):
        source = self.checkpoint(size="4MiB", layers=2)
        _, ticket = self.seed(source)
        copy = self.dir / "copy"
        self.env["XDG_STATE_HOME"] = str(self.dir / "another machine")
        self.fetch(ticket, copy)
        (copy / "config.json").write_text("{}")
        ended = self.run_command("verify", copy, "--repair", "--peer", peer_of(ticket))
        self.assertEqual((ended.code, (copy / "config.json").read_text()), (4, "{}"), ended.stderr)
        self.assertIn("remove it and run this again", ended.stderr)
        self.assertIn("config.json", ended.stdout)
        (copy / "config.json").unlink()
        ended = self.run_command("verify", copy, "--repair", "--peer", peer_of(ticket))
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual(tree(copy), tree(source))

    def test_verify_says_where_there_is_nothing_to_repair(self):
        source = self.checkpoint(size="4MiB", layers=2)
        self.run_command("index", source)
        ended = self.run_command("verify", source, "--repair", "--peer", NOBODY)
        self.assert_refused(ended, 1, "nothing was fetched into")

    @staticmethod
    def rot(path, at=-1):
        """Changes a byte as a disk would: size and times stay."""
        times = os.stat(path)
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        with open(path, "r+b") as file:
            file.write(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def test_a_directory_without_weights_is_warned_of_and_served(self):
        home = self.dir / "home"
        home.mkdir()
        (home / "notes.txt").write_text("not a model")
        seed, ticket = self.seed(home, "--listen", "127.0.0.1:0")
        self.fetch(ticket, self.dir / "copy", "--listen", "127.0.0.1")
        ended = seed.signal(15)
        self.assertEqual(ended.stderr.count("holds no file with weights"), 1, ended.stderr)
        (home / "model.gguf").write_bytes(b"weights")
        self.assertNotIn("weights", self.run_command("index", home).stderr)

    def test_seed_waits_and_ends_cleanly_at_a_signal(self):
        source = self.checkpoint(size="4MiB", layers=2)
        seed, ticket = self.seed(source, "--advertise", "192.0.2.7:7000", "--name", "tiny")
        self.assertRegex(ticket, r"^shardswarm://192\.0\.2\.7:7000/[0-9a-f]{64}$")
        ended = seed.signal(15)
        self.assertEqual(ended.code, 0)
        self.assertEqual(len(ended.stdout.splitlines()), 1)

    def test_seed_indexes_again_what_changed(self):
        source = self.checkpoint(size="4MiB", layers=2)
        first, before = self.seed(source)
        first.kill()
        (source / "config.json").write_text("{}")
        _, after = self.seed(source)
        self.assertNotEqual(id_of(before), id_of(after))
        self.fetch(after, self.dir / "copy")
        self.assert_same_tree(source, self.dir / "copy")

    def test_help_and_version(self):
        self.assertIn("fetch", self.run_command("--help").stdout)
        self.assertIn("--layers", self.run_command("fetch", "--help").stdout)
        self.assertRegex(self.run_command("--version").stdout, r"^shardswarm \d+\.\d+\.\d+\n")


class BadInputTest(CliTest):
    def test_usage(self):
        for arguments in (("fetch",), ("fetch", "x"), ("frobnicate",), (), ("seed", "a", "b"),
                          ("fetch", ID, "--to", "d", "--io", "floppy")):
            self.assert_refused(self.run_command(*arguments), 2)

    def test_tickets_that_are_none(self):
        for ticket in ("", "hello", "shardswarm:", "shardswarm:12?peer=h:1", f"shardswarm:{ID}?peer=",
                       f"shardswarm://host:0/{ID}", f"shardswarm://host:99999/{ID}", "shardswarm://h:1",
                       f"shardswarm://0.0.0.0:1/{ID}", f"shardswarm://h:1/{ID}/", f"magnet:?xt={ID}",
                       f"shardswarm://h:1/{ID[:-1]}g", "x" * 100_000):
            self.assert_refused(self.start_fetch(ticket, self.dir / "copy").end(), 2, "ticket")
        self.assert_refused(self.start_fetch(f"shardswarm:{ID}", self.dir / "copy").end(), 2, "--peer")
        self.assertFalse((self.dir / "copy").exists())

    def test_selections_that_cannot_be(self):
        source = self.checkpoint(size="8MiB", layers=4)
        _, ticket = self.seed(source)
        for flags, words in ((("--layers", "2-4"), ("0-3",)), (("--layers", "3-2"), ()),
                             (("--layers", "a"), ()), (("--stage", "0/2"), ()),
                             (("--stage", "1/5"), ("4",)), (("--tensors", "nothing*"), ("nothing*",)),
                             (("--files", "*.gguf"), ("*.gguf",))):
            self.assert_refused(self.start_fetch(ticket, self.dir / "copy", *flags).end(), 2, *words)
            self.assertFalse((self.dir / "copy").exists())

    def test_nobody_there(self):
        ended = self.start_fetch(ticket_of(ID, NOBODY), self.dir / "copy",
                                 "--stall-timeout", "1").end()
        self.assert_refused(ended, 3, NOBODY)

    def test_an_id_that_no_peer_has(self):
        source = self.checkpoint(size="4MiB", layers=2)
        _, ticket = self.seed(source)
        ended = self.start_fetch(ticket_of(ID, peer_of(ticket)), self.dir / "copy",
                                 "--stall-timeout", "1").end()
        self.assert_refused(ended, 3, ID)

    def test_a_directory_that_holds_something_else(self):
        one, two = self.checkpoint("one", size="4MiB"), self.checkpoint("two", size="4MiB", seed=2)
        (_, first), (_, second) = self.seed(one), self.seed(two)
        self.fetch(first, self.dir / "copy")
        before = tree(self.dir / "copy")
        self.assert_refused(self.start_fetch(second, self.dir / "copy").end(), 6, self.dir / "copy")
        self.assertEqual(tree(self.dir / "copy"), before)
        # A user's own files are never overwritten.
        (self.dir / "own").mkdir()
        (self.dir / "own" / "config.json").write_text("mine")
        self.assert_refused(self.start_fetch(first, self.dir / "own").end(), 6, "config.json")
        self.assertEqual((self.dir / "own" / "config.json").read_text(), "mine")

    def test_two_processes_on_one_directory(self):
        source = self.checkpoint(size="4MiB")
        _, ticket = self.seed(source)
        first = self.start_fetch(ticket, self.dir / "copy", "--linger", "forever")
        first.event("done")
        self.assert_refused(self.start_fetch(ticket, self.dir / "copy").end(), 6, self.dir / "copy")
        first.signal(2)
        self.fetch(ticket, self.dir / "copy")

    def test_places_that_cannot_be_written(self):
        source = self.checkpoint(size="4MiB")
        _, ticket = self.seed(source)
        (self.dir / "file").write_text("a file")
        self.assert_refused(self.start_fetch(ticket, self.dir / "file" / "copy").end(), 1, "file")
        self.assert_refused(self.start_fetch(ticket, self.dir / "file").end(), 1, "file")

    def test_a_path_that_is_no_directory_is_one_exit_code(self):
        (self.dir / "file").write_text("a file")
        for name in ("missing", "file"):
            place = self.dir / name
            for words in (("index", place), ("seed", place), ("verify", place), ("inspect", place),
                          ("forget", place), ("drop", place, "--layers", "1"),
                          ("convert", place, "--layout", "mirror"),
                          ("verify", place, "--repair", "--peer", NOBODY)):
                with self.subTest(words):
                    self.assert_refused(self.run_command(*words), 1)

    def test_symbolic_links_in_the_target_are_not_followed(self):
        source = self.checkpoint(size="4MiB")
        _, ticket = self.seed(source)
        (self.dir / "victim").write_text("untouched")
        (self.dir / "copy").mkdir()
        (self.dir / "copy" / "config.json").symlink_to(self.dir / "victim")
        self.assertEqual(self.start_fetch(ticket, self.dir / "copy").end().code, 6)
        self.assertEqual((self.dir / "victim").read_text(), "untouched")

    def test_a_source_that_shrinks_is_an_error_and_no_wrong_bytes(self):
        source = self.checkpoint(size="16MiB", layers=4, files=1)
        seed, ticket = self.seed(source)
        os.truncate(source / "model.safetensors", 4 << 20)
        ended = self.start_fetch(ticket, self.dir / "copy", "--stall-timeout", "2").end()
        self.assert_refused(ended, 3, "pieces are missing")
        self.assertFalse((self.dir / "copy" / "model.safetensors").exists())
        self.assertIsNone(seed.popen.poll())

    def test_a_source_that_changes_under_the_seed_is_not_believed(self):
        source = self.checkpoint(size="8MiB", layers=2, files=1)
        seed, ticket = self.seed(source)
        with open(source / "model.safetensors", "r+b") as file:
            file.seek(-1000, 2)
            file.write(b"x" * 1000)
        ended = self.start_fetch(ticket, self.dir / "copy", "--stall-timeout", "2").end()
        self.assertNotEqual(ended.code, 0)
        self.assertFalse((self.dir / "copy" / "model.safetensors").exists())
        self.assertIsNone(seed.popen.poll())

    def test_hostile_headers(self):
        entry = '"%s":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}'
        hostile = {
            "length near 2^64": b"\xff" * 8 + b"{}",
            "length beyond the file": struct.pack("<Q", 1000) + b"{}",
            "length over the limit": struct.pack("<Q", 100_000_001) + b"{}",
            "too short": b"\x02",
            "empty": b"",
            "no object": packed("[]"),
            "polyglot": b"PK\x03\x04" + packed("{}"),
            "trailing bytes": packed("{}x"),
            "duplicate key": packed("{" + entry % ("a", 1, 0, 1) + "," + entry % ("a", 1, 1, 2) + "}", 2),
            "unknown dtype": packed('{"a":{"dtype":"U7","shape":[1],"data_offsets":[0,1]}}', 1),
            "wrong product": packed("{" + entry % ("a", 3, 0, 2) + "}", 2),
            "overflow": packed('{"a":{"dtype":"F64","shape":[4294967296,4294967296],'
                               '"data_offsets":[0,0]}}'),
            "overlap": packed("{" + entry % ("a", 2, 0, 2) + "," + entry % ("b", 2, 1, 3) + "}", 3),
            "hole": packed("{" + entry % ("a", 1, 0, 1) + "," + entry % ("b", 1, 2, 3) + "}", 3),
            "not from zero": packed("{" + entry % ("a", 1, 1, 2) + "}", 2),
            "data missing": packed("{" + entry % ("a", 9, 0, 9) + "}", 4),
            "data beyond": packed("{" + entry % ("a", 1, 0, 1) + "}", 4),
            "negative": packed('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,-1]}}'),
            "metadata no strings": packed('{"__metadata__":{"a":1}}'),
            "deep": packed("{" + '"a":[' * 5000),
            "one range many times": packed("{" + ",".join(entry % (f"t{i}", 1, 0, 1)
                                                          for i in range(200_000)) + "}", 1),
        }
        place = self.dir / "hostile"
        for name, content in hostile.items():
            with self.subTest(name):
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                (place / "model.safetensors").write_bytes(content)
                self.assert_refused(self.run_command("index", place), 1, "model.safetensors")

    def test_an_index_that_names_a_missing_file(self):
        source = self.checkpoint(size="8MiB", files=2)
        next(source.glob("model-00002*")).unlink()
        self.assert_refused(self.run_command("index", source), 1, "model-00002")


class OtherPeersTest(CliTest):
    def fake_peer(self, answer):
        """Listens, sends `answer` to whoever comes, and reads until they go."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                    peer.sendall(answer)
                    while peer.recv(1 << 16):
                        pass
                    peer.close()
                except OSError:
                    return
        threading.Thread(target=serve, daemon=True).start()
        return "127.0.0.1:%d" % listener.getsockname()[1]

    def fetch_from(self, address):
        return self.start_fetch(ticket_of(ID, address), self.dir / "copy",
                                "--stall-timeout", "2").end()

    def test_another_protocol_version(self):
        hello = b"\x08\x07\x10\x09\x22\x20" + bytes(range(32))  # versions 7 to 9
        frame = struct.pack("<IBBHQ", len(hello), 0x81, 0, 0, 0) + hello
        self.assert_refused(self.fetch_from(self.fake_peer(b"SSWARM\x00\x01" + frame)), 3, "version")

    def test_something_else_that_listens(self):
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 4096):
            self.assert_refused(self.fetch_from(self.fake_peer(answer)), 3)

    def test_garbage_does_not_disturb_a_seed(self):
        source = self.checkpoint(size="4MiB")
        seed, ticket = self.seed(source)
        host, port = peer_of(ticket).split(":")
        for garbage in (b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", os.urandom(100_000),
                        b"SSWARM\x00\x01" + b"\xff" * 64, b"SSWARM\x00\x01" + os.urandom(4096)):
            with socket.create_connection((host, int(port))) as peer:
                try:
                    peer.sendall(garbage)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(1 << 16):
                        pass
                except OSError:
                    pass
        self.fetch(ticket, self.dir / "copy")
        self.assert_same_tree(source, self.dir / "copy")
        self.assertIsNone(seed.popen.poll())


def packed(text, data=0):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw + b"\0" * data


if __name__ == "__main__":
    unittest.main()
