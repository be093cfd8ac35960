"""Keys: who trusts whom, how a key travels, and that nothing shows it."""

import contextlib
import os
import pty
import shutil
import socket
import ssl
import subprocess
import unittest

from swarm import BIN, Proxy, peer_of, through, ticket_of
from test_cli import ID, NOBODY, CliTest


class TrustTest(CliTest):
    def key(self, name):
        ended = self.run_command("key", "new", self.dir / name)
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual(os.stat(self.dir / name).st_mode & 0o777, 0o600)
        return self.dir / name

    def test_with_the_same_key_a_fetch_works_and_nothing_is_readable_on_the_way(self):
        source, key = self.checkpoint(size="16MiB", layers=4), self.key("a.key")
        secret = (source / "config.json").read_bytes()
        for name, flags in (("tls", ("--key", key)), ("plain", ())):
            _, ticket = self.seed(source, *flags)
            proxy = Proxy(peer_of(ticket), keep=True)
            self.addCleanup(proxy.close)
            self.fetch(through(ticket, proxy), self.dir / name, *flags)
            self.assert_same_tree(source, self.dir / name)
            self.assertEqual(secret in proxy.kept, name == "plain")

    def test_the_key_is_found_in_environment_and_configuration(self):
        source = self.checkpoint(size="4MiB")
        key = self.key("a.key")
        _, ticket = self.seed(source, "--key", key)
        self.env["SHARDSWARM_KEY"] = str(key)
        self.fetch(ticket, self.dir / "copy1")
        del self.env["SHARDSWARM_KEY"]
        (self.dir / "config/shardswarm").mkdir(parents=True)
        key.rename(self.dir / "config/shardswarm/cluster.key")
        self.fetch(ticket, self.dir / "copy2")

    def test_a_wrong_key_is_refused(self):
        source, key, other = self.checkpoint(size="4MiB"), self.key("a.key"), self.key("b.key")
        _, ticket = self.seed(source, "--key", key)
        ended = self.start_fetch(ticket, self.dir / "copy", "--key", other).end()
        self.assert_refused(ended, 7, "key show", "key export", "key import --force")
        _, plain = self.seed(source)
        self.assert_refused(self.start_fetch(plain, self.dir / "copy", "--key", other,
                                             "--stall-timeout", "3").end(), 7, "key")

    def test_a_key_on_one_side_only_is_said_on_both_at_once(self):
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        for seed_flags, fetch_flags, fetch_says, seed_says in (
                (("--key", key, "--listen", "127.0.0.1"), (), "it has a cluster key and this node has none",
                 "it has no cluster key and this node has one"),
                ((), ("--key", key), "it has no cluster key and this node has one",
                 "it speaks TLS, as a node with a cluster key does")):
            seed, ticket = self.seed(source, *seed_flags)
            # The stall timeout is longer than a test may take.
            for _ in range(2):
                ended = self.start_fetch(ticket, self.dir / "copy", "--stall-timeout", "3600",
                                         *fetch_flags).end()
                self.assert_refused(ended, 7, peer_of(ticket), fetch_says, "key import")
            flags = ("--state", self.dir / "nothing known", *fetch_flags)
            self.assert_refused(self.start_fetch(ticket, self.dir / "copy", "--dry-run", "--stall-timeout",
                                                 "3600", *flags).end(), 7, fetch_says)
            self.assert_refused(self.run_command("inspect", ticket, "--timeout", "3600", *flags), 7,
                                fetch_says)
            said = seed.signal(15).stderr
            self.assertEqual(said.count(seed_says), 1, said)

    def test_insecure_is_named_where_it_was_used(self):
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        _, ticket = self.seed(source, "--key", key, "--listen", "127.0.0.1:0")
        for flags, named in (((), False), (("--insecure",), True)):
            ended = self.start_fetch(ticket, self.dir / "copy", "--listen", "127.0.0.1", *flags).end()
            self.assert_refused(ended, 7, "start this node again")
            self.assertEqual("again, without --insecure" in ended.stderr, named, ended.stderr)

    def test_a_stranger_is_no_node_without_a_key(self):
        """Scanners, browsers and others: the operator shall not bring the key to them."""
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        seed, ticket = self.seed(source, "--key", key, "--listen", "127.0.0.1:0", "-v")
        port = int(peer_of(ticket).rsplit(":", 1)[1])
        for i, said in enumerate((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
                                  bytes(64), b"CONNECT x:443 HTTP/1.1\r\n\r\n")):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(said)
                while stranger.recv(4096):
                    pass
            seed.wait_for(lambda p, n=i: sum("refused 127.0.0.1" in line for line in p.errors) > n,
                          "a line about the stranger")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port)) as raw, contextlib.suppress(OSError):
            with context.wrap_socket(raw) as stranger:
                stranger.recv(1)
        said = seed.wait_for(lambda p: [line for line in p.errors if "no certificate" in line] and p.errors,
                             "a line about the stranger without a certificate")
        for line in said:
            self.assertNotIn("key export", line)
            self.assertNotIn("warning: refused", line)

    def test_a_key_in_the_place_of_another_word_is_not_shown(self):
        line = self.run_command("key", "export", self.key("a.key")).stdout.strip()
        pem = (self.dir / "a.key").read_text()
        before = sorted(self.dir.iterdir())
        for key in (line, pem):
            for words in ((key,), ("key", key), ("key", "new", key), ("key", "new", "x", key),
                          ("key", "import", "a.key", "--to", key), ("fetch", key), ("fetch", ID, "--peer", key),
                          ("seed", ".", "--advertise", key), ("seed", ".", "--listen", key)):
                ended = self.run_command(*words)
                self.assertNotEqual(ended.code, 0, words[:-1])
                for part in (line[40:60], pem.splitlines()[1][:20]):
                    self.assertNotIn(part, ended.stdout + ended.stderr, words[:-1])
        self.assertEqual(sorted(self.dir.iterdir()), before)

    def test_a_key_that_others_can_read_is_warned_of(self):
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        state = self.dir / "nothing known"
        for mode, warned in ((0o640, 1), (0o604, 1), (0o600, 0), (0o400, 0)):
            key.chmod(mode)
            said = []
            seed, ticket = self.seed(source, "--key", key, "--listen", "127.0.0.1:0")
            for words in (("key", "show", key), ("key", "export", key),
                          ("key", "import", key, "--to", self.dir / f"{mode}.key"),
                          ("fetch", ticket, self.dir / f"copy{mode}", "--key", key, "--listen", "127.0.0.1"),
                          ("inspect", ticket, "--key", key, "--state", state / str(mode))):
                ended = self.run_command(*words)
                self.assertEqual(ended.code, 0, ended.stderr)
                said.append(ended.stderr)
            said.append(seed.signal(15).stderr)
            for text in said:
                self.assertEqual(text.count(f"`chmod 600 '{key}'`"), warned, text)

    def test_a_missing_key_is_one_exit_code(self):
        self.assert_refused(self.run_command("key", "show"), 7, "key new")
        self.assert_refused(self.run_command("key", "export"), 7, "key new")
        self.assert_refused(self.run_command("seed", self.dir, "--listen", "0.0.0.0:0"), 7, "key new")
        none, ticket = self.dir / "none.key", ticket_of(ID, NOBODY)
        for words in (("key", "show", none), ("key", "export", none), ("key", "import", none),
                      ("seed", self.dir, "--key", none), ("inspect", ticket, "--key", none),
                      ("fetch", ticket, self.dir / "copy", "--key", none)):
            self.assert_refused(self.run_command(*words), 7, "none.key")

    def test_what_is_said_of_keys_is_true(self):
        key, other = self.key("a.key"), self.key("b.key")
        self.assert_refused(self.run_command("key", "show", self.dir / "none.key"), 7, "FILE names", "none.key")
        self.assert_refused(self.run_command("key", "import", self.dir / "none.key"), 7, "KEY names", "none.key")
        usual = self.run_command("key", "import", key)
        self.assertIn("start from now on use it", usual.stderr)
        self.env["SHARDSWARM_KEY"] = str(other)
        self.assertIn("unset it", self.run_command("key", "import", key, "--force").stderr)
        elsewhere = self.run_command("key", "import", key, "--to", self.dir / "c.key")
        self.assertIn("--key", elsewhere.stderr)

    def paste(self, text, *flags):
        """Gives `key import` a text on a terminal. Returns its exit code, all that the terminal
        showed, and what the next program on the terminal would read."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        to = self.dir / "pasted.key"
        to.unlink(missing_ok=True)
        process = subprocess.Popen([BIN / "shardswarm", *flags, "key", "import", "--to", to], env=self.env,
                                   stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        asked = process.stderr.readline()
        os.write(ours, text.encode())
        output, errors = process.communicate(timeout=60)
        os.set_blocking(theirs, False)
        left = b""
        with contextlib.suppress(BlockingIOError):
            left = os.read(theirs, 4096)
        os.set_blocking(ours, False)
        echoed = b""
        with contextlib.suppress(BlockingIOError):
            echoed = os.read(ours, 65536)
        os.close(theirs)
        return process.returncode, asked + output + errors + echoed.decode(), left

    def test_a_key_that_is_pasted_is_taken_whole_and_leaves_nothing_behind(self):
        key = self.key("a.key")
        pem = key.read_text()
        line = self.run_command("key", "export", key).stdout.strip()
        at = pem.index("-----BEGIN CERTIFICATE")
        wrapped = "\n".join(line[i:i + 80] for i in range(0, len(line), 80))
        for text in (line + "\n", wrapped + "\n", pem, pem[at:] + pem[:at], pem + "echo more\n"):
            for flags in ((), ("-q",)):
                code, shown, left = self.paste(text, *flags)
                self.assertEqual(code, 0, shown)
                self.assertIn("Paste the key", shown)
                self.assertNotIn(line[40:60], shown)
                self.assertNotIn(pem.splitlines()[1][:20], shown)
                self.assertEqual(left, b"")
                self.assertEqual(sorted((self.dir / "pasted.key").read_text().splitlines()),
                                 sorted(pem.splitlines()))
        for text in (wrapped[:300] + "\n\n", "\n", "garbage\n\n", wrapped[:300] + "\n\x04"):
            code, shown, left = self.paste(text)
            self.assertEqual(code, 1, shown)
            self.assertIn("not a cluster key", shown)
            self.assertEqual(left, b"")

    def test_a_key_travels_as_a_line(self):
        key = self.key("a.key")
        exported = self.run_command("key", "export", key)
        line = exported.stdout.strip()
        self.assertEqual(len(exported.stdout.splitlines()), 1)
        there = self.dir / "other" / "cluster.key"
        for given, text in (((), line + "\n"), (("-",), key.read_text()), ((line,), ""), ((key,), "")):
            shutil.rmtree(there.parent, ignore_errors=True)
            ended = self.run_command("key", "import", *given, "--to", there, input_text=text)
            self.assertEqual(ended.code, 0, ended.stderr)
            self.assertEqual(there.read_text(), key.read_text())
            self.assertEqual(os.stat(there).st_mode & 0o777, 0o600)
        shown = self.run_command("key", "show", key).stdout
        self.assertRegex(shown, r"^[0-9a-f]{4}(-[0-9a-f]{4}){4}\n$")
        self.assertEqual(self.run_command("key", "show", there).stdout, shown)

    def test_an_import_replaces_no_other_key_unasked(self):
        one, two = self.key("a.key"), self.key("b.key")
        before = one.read_text()
        again = self.run_command("key", "import", one, "--to", one)
        self.assertEqual(again.code, 0, again.stderr)
        self.assert_refused(self.run_command("key", "import", two, "--to", one), 6, one, "--force")
        self.assertEqual(one.read_text(), before)
        self.assertEqual(self.run_command("key", "import", two, "--to", one, "--force").code, 0)
        self.assertEqual(one.read_text(), two.read_text())
        for text in ("", "garbage\n", self.run_command("key", "export", two).stdout[:200] + "\n"):
            refused = self.run_command("key", "import", "--to", one, input_text=text)
            self.assert_refused(refused, 1, "not a cluster key")
            self.assertNotIn(text[:15] or "\0", refused.stderr)

    def test_the_variable_may_hold_the_key_and_is_never_shown(self):
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        _, ticket = self.seed(source, "--key", key)
        line = self.run_command("key", "export", key).stdout.strip()
        for i, value in enumerate((key.read_text(), key.read_text().replace("\n", "\\n"), line)):
            self.env["SHARDSWARM_KEY"] = value
            self.fetch(ticket, self.dir / f"copy{i}")
        secret = key.read_text().splitlines()[1]
        for value in (secret, key.read_text()[:100], line[:100], line[20:], "/" + secret, "what is this"):
            self.env["SHARDSWARM_KEY"] = value
            for command in (("fetch", ticket, "--to", self.dir / "refused"), ("seed", source),
                            ("key", "show"), ("inspect", ticket, "--state", self.dir / "none")):
                ended = self.run_command(*command)
                # Half a key is no key; what is none at all is a key that is missing.
                half = value in (key.read_text()[:100], line[:100])
                self.assert_refused(ended, 1 if half else 7, "SHARDSWARM_KEY")
                self.assertNotIn(value[1:11], ended.stdout + ended.stderr)

    def test_a_key_given_as_text_is_not_kept_in_the_state(self):
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        self.seed(source, "--key", key)
        line = self.run_command("key", "export", key).stdout.strip()
        self.start_fetch(ticket_of(ID, NOBODY), self.dir / "copy", "--key", line, "--stall-timeout",
                         "1").end()
        for path in (self.dir / "state").rglob("*"):
            self.assertFalse(path.is_file() and line.encode()[20:60] in path.read_bytes(), path)

    def test_keys_that_are_none(self):
        source = self.checkpoint(size="4MiB")
        (self.dir / "bad.key").write_text("no key")
        self.assert_refused(self.run_command("seed", source, "--key", self.dir / "bad.key"), 1, "bad.key")
        self.assert_refused(self.run_command("seed", source, "--key", self.dir / "none.key"), 7, "none.key")
        key = self.key("a.key")
        before = key.read_bytes()
        self.assertNotEqual(self.run_command("key", "new", key).code, 0)
        self.assertEqual(key.read_bytes(), before)

    def test_without_a_key_it_stays_on_this_machine(self):
        source = self.checkpoint(size="4MiB")
        self.assert_refused(self.run_command("seed", source, "--listen", "0.0.0.0:0"), 7, "--insecure")
        ended = self.start_fetch(ticket_of(ID, "192.0.2.1:7000"), self.dir / "copy").end()
        self.assert_refused(ended, 7, "192.0.2.1:7000", "key export", "key import", "cluster.key")
        seed, ticket = self.seed(source, "--listen", "0.0.0.0:0", "--insecure")
        self.assertTrue(seed.errors and "INSECURE" in "".join(seed.errors))
        self.assertNotIn("0.0.0.0", ticket)


if __name__ == "__main__":
    unittest.main()
