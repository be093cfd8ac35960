"""What a person sees: status lines in narrow terminals, colours, text from outside."""

import json
import re
import signal
import unittest

from screen import Screen
from swarm import BIN, SwarmTest, peer_of


class TerminalTest(SwarmTest):
    def screen(self, columns, *arguments, both=True, **environment):
        env = {**self.env, "TERM": "xterm", "LANG": "C.UTF-8", "LC_ALL": "", **environment}
        env = {name: value for name, value in env.items() if value is not None}
        screen = Screen([str(BIN / "shardswarm"), *map(str, arguments)], env, columns, both)
        self.addCleanup(lambda: screen.popen.poll() is None and screen.popen.kill())
        return screen

    def slow_seed(self):
        source = self.checkpoint(size="16MiB", layers=4)
        return self.seed(source, "--upload-limit", "2MiB")

    def test_status_keeps_percent_time_left_and_state(self):
        _, ticket = self.slow_seed()
        for columns in (25, 40, 60, 80, 132):
            with self.subTest(columns=columns):
                screen = self.screen(columns, "fetch", ticket, self.dir / f"to-{columns}",
                                     "--no-reuse", both=False)
                line = screen.wait_for(r"left$|left +\d+ peer")
                self.assertRegex(line, r"^ *\d+ % .*fetching.* left")
                self.assertIn("/s" if columns >= 40 else "left", line)
                screen.popen.send_signal(signal.SIGINT)
                self.assertEqual(screen.end(), 130)
                for line in screen.shown():
                    if "%" in line:
                        self.assertLess(len(line), columns)

    def test_without_a_peer_it_says_what_it_waits_for(self):
        seed, ticket = self.slow_seed()
        screen = self.screen(200, "fetch", ticket, self.dir / "to", "--no-reuse",
                             "--stall-timeout", "20s", both=False)
        screen.wait_for("fetching")
        seed.kill()
        line = screen.wait_for("waiting for a peer")
        self.assertRegex(line, r"waiting for a peer \(last: " + re.escape(peer_of(ticket))
                         + r", lost \d+ s ago: .*giving up in \d+ s\)")
        self.assertNotIn("/s ", line)
        screen.popen.send_signal(signal.SIGINT)
        self.assertEqual(screen.end(), 130)
        self.assertRegex(screen.left()[-1], "^shardswarm: error: ")

    def test_log_lines_and_the_status_never_mix(self):
        _, ticket = self.slow_seed()
        screen = self.screen(100, "fetch", ticket, self.dir / "to", "-vv", "--no-reuse", both=False)
        self.assertEqual(screen.end(), 0)
        left = screen.left()
        self.assertTrue(any(line.startswith("info: ") for line in left), left)
        for line in left:
            self.assertLessEqual(len(re.findall(r"\d+ %|info: |debug: |warning: ", line)), 1, line)

    def test_colours_are_left_out_where_nobody_wants_them(self):
        _, ticket = self.slow_seed()
        missing = self.dir / "missing"
        coloured = self.screen(80, "index", missing)
        coloured.end()
        self.assertIn(b"\x1b[31m", coloured.raw)
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": None}):
            with self.subTest(environment=environment):
                plain = self.screen(80, "index", missing, **environment)
                plain.end()
                self.assertNotIn(b"\x1b[3", plain.raw)
        dumb = self.screen(80, "fetch", ticket, self.dir / "to", "--no-reuse", both=False, TERM="dumb")
        self.assertEqual(dumb.end(), 0)
        self.assertNotIn(b"\x1b", dumb.raw)
        self.assertNotIn(b"%\r", dumb.raw)

    def test_text_from_outside_is_shown_and_not_obeyed(self):
        source = self.checkpoint(size="4MiB", layers=2)
        escape = "\x1b]52;c;cm0gLXJm\x07"
        name = f"model.layers.0.{escape}evil"
        header = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}},
                            ensure_ascii=False).encode()
        target = source / "model-evil.safetensors"
        target.write_bytes(len(header).to_bytes(8, "little") + header + b"x")
        if index := list(source.glob("*.index.json")):
            index[0].unlink()
        for arguments in (("index", source), ("inspect", source, "--tensors", "*evil"),
                          ("index", self.dir / f"no{escape}where"), ("fetch", f"x{escape}", "d"),
                          ("fr" + escape,), ("fetch", "t", "d", "--io", escape)):
            for both in (True, False):
                screen = self.screen(300, *arguments, both=both)
                screen.end()
                self.assertNotIn(b"\x1b]52", screen.raw, arguments)
                self.assertNotIn(b"\x07", screen.raw, arguments)

    def test_a_locale_without_utf8_gets_ascii(self):
        for locale in ({"LANG": "C", "LC_ALL": ""}, {"LC_ALL": "C"}):
            screen = self.screen(80, "index", self.dir / "模型", **locale)
            screen.end()
            self.assertTrue(screen.raw.isascii(), screen.raw)
            self.assertIn(b"\\u{6a21}", screen.raw)
        screen = self.screen(80, "index", self.dir / "模型")
        screen.end()
        self.assertIn("模型", screen.raw.decode())


class PipedTest(SwarmTest):
    def test_a_log_has_times_and_states(self):
        source = self.checkpoint(size="64MiB", layers=4)
        _, ticket = self.seed(source, "--upload-limit", "6MiB")
        fetch = self.start("fetch", ticket, self.dir / "to", "--no-reuse", "-v")
        line = fetch.wait_for(lambda p: next((e for e in p.errors if " % " in e), None), "a status")
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ +\d+ %  fetching  .* left  1 peer$")
        self.assertTrue(any(re.match(r"\d{4}-.*Z info: connected to", line) for line in fetch.errors))
        fetch.kill()

    def test_sigusr1_prints_how_far_it_is(self):
        source = self.checkpoint(size="16MiB", layers=4)
        seed, ticket = self.seed(source, "--upload-limit", "1MiB")
        fetch = self.start("fetch", ticket, self.dir / "to", "--no-reuse", "-v")
        seed.wait_for(lambda p: any("serving" in line for line in p.errors), "the seed to serve")
        fetch.wait_for(lambda p: any("connected to" in line for line in p.errors), "a connection")

        def asked(process):
            process.popen.send_signal(signal.SIGUSR1)
            return any("fetching" in line for line in process.errors)
        fetch.wait_for(asked, "the status of the fetch")
        seed.popen.send_signal(signal.SIGUSR1)
        seed.wait_for(lambda p: any(re.search(r"1 peers? now.*sent", e) for e in p.errors),
                      "the status of the seed")
        self.assertEqual(fetch.signal(signal.SIGTERM).code, 143)
        self.assertEqual(seed.signal(signal.SIGTERM).code, 0)

    def test_list_tells_how_to_go_on_with_an_interrupted_fetch(self):
        source = self.checkpoint(size="16MiB", layers=4)
        _, ticket = self.seed(source, "--upload-limit", "1MiB")
        to = self.dir / "to here"
        fetch = self.start("fetch", ticket, to, "--layers", "0-1", "--no-reuse", "--json")
        fetch.wait_for(lambda p: any('"phase":"fetching"' in line for line in p.lines), "progress")
        self.assertNotIn("interrupted", self.run_command("list").stdout)  # it runs
        fetch.kill()
        listed = self.run_command("list").stdout
        self.assertIn(f"interrupted: {to}", listed)
        self.assertIn(f"'{to}' --layers 0-1", listed)
        row = next(row for row in json.loads(self.run_command("list", "--json").stdout)
                   if row.get("interrupted"))
        self.assertIn("--layers 0-1", row["resume"])
        fast, _ = self.seed(source, "--listen", "127.0.0.1:0")
        again = fast.lines[-1].strip()
        self.assertEqual(self.run_command("fetch", again, to, "--layers", "0-1").code, 0)
        self.assertNotIn("interrupted", self.run_command("list").stdout)

    def test_a_ready_file_stands_while_the_seed_serves(self):
        source = self.checkpoint(size="4MiB", layers=2)
        ready = self.dir / "ready"
        seed, ticket = self.seed(source, "--ready-file", ready)
        seed.wait_for(lambda p: any("serving" in line for line in p.errors), "the seed to serve")
        self.assertEqual(ready.read_text(), ticket + "\n")
        self.assertEqual(seed.signal(signal.SIGTERM).code, 0)
        self.assertFalse(ready.exists())
        refused = self.start("seed", source, "--ready-file", self.dir / "no" / "such" / "ready").end()
        self.assertEqual(refused.code, 1)
        self.assertIn("ready file", refused.stderr)


if __name__ == "__main__":
    unittest.main()
