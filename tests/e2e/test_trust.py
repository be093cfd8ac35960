"""Keys: who trusts whom, how a key travels, and that nothing shows it."""

import os
import shutil
import unittest

from swarm import Proxy, peer_of, through, ticket_of
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
        self.assert_refused(ended, 7, "key")
        _, plain = self.seed(source)
        self.assert_refused(self.start_fetch(plain, self.dir / "copy", "--key", other,
                                             "--stall-timeout", "3").end(), 7, "key")

    def test_a_key_on_one_side_only_is_said_on_both_at_once(self):
        source, key = self.checkpoint(size="4MiB"), self.key("a.key")
        for seed_flags, fetch_flags, fetch_says, seed_says in (
                (("--key", key, "--listen", "127.0.0.1"), (), "it has a cluster key and this node has none",
                 "it has no cluster key and this node has one"),
                ((), ("--key", key), "it has no cluster key and this node has one",
                 "it has a cluster key and this node has none")):
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
                self.assert_refused(ended, 1, "SHARDSWARM_KEY")
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
        self.assert_refused(self.run_command("seed", source, "--key", self.dir / "none.key"), 1, "none.key")
        key = self.key("a.key")
        before = key.read_bytes()
        self.assertNotEqual(self.run_command("key", "new", key).code, 0)
        self.assertEqual(key.read_bytes(), before)

    def test_without_a_key_it_stays_on_this_machine(self):
        source = self.checkpoint(size="4MiB")
        self.assert_refused(self.run_command("seed", source, "--listen", "0.0.0.0:0"), 2, "--insecure")
        ended = self.start_fetch(ticket_of(ID, "192.0.2.1:7000"), self.dir / "copy").end()
        self.assert_refused(ended, 7, "192.0.2.1:7000", "key export", "key import", "cluster.key")
        seed, ticket = self.seed(source, "--listen", "0.0.0.0:0", "--insecure")
        self.assertTrue(seed.errors and "INSECURE" in "".join(seed.errors))
        self.assertNotIn("0.0.0.0", ticket)


if __name__ == "__main__":
    unittest.main()
