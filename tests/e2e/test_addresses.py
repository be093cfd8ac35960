"""Tickets, ports and addresses: of names, of both families, and of one cable."""

import pathlib
import shutil
import subprocess
import sys
import unittest

from skips import skip
from swarm import BIN, Process, SwarmTest, id_of, peer_of, peers_of, ticket_of
from test_cli import ID, CliTest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from netbox import NetBox, NotPermitted  # noqa: E402  (found through the line above)

PORT = 17976


class AddressesTest(CliTest):
    def test_the_command_for_the_other_machine_works_as_it_is_pasted(self):
        source = self.checkpoint("my model!", size="4MiB")
        seed, ticket = self.seed(source, "--listen", "localhost")
        command = seed.wait_for(
            lambda p: [line for line in p.errors if line.startswith("  shardswarm fetch ")], "the command")
        words = command[0].split()
        self.assertEqual(words, ["shardswarm", "fetch", ticket, "./my-model-"])
        # No quotes around the ticket, in every shell that is here.
        for shell in ("bash", "zsh", "fish", "sh"):
            if not shutil.which(shell):
                continue
            printed = subprocess.run([shell, "-c", f"printf '%s\\n' {words[2]}"], text=True,
                                     capture_output=True, check=True, cwd=self.dir).stdout
            self.assertEqual(printed.strip(), ticket, shell)
        self.fetch(words[2], self.dir / words[3])

    def test_a_ticket_that_only_this_machine_can_use_says_so(self):
        source = self.checkpoint(size="4MiB")
        for flags, words in (((), ("without a cluster key", "key new", "key import")),
                             (("--insecure", "--listen", "127.0.0.1"), ("127.0.0.1 is a loopback",)),
                             (("--insecure", "--advertise", "localhost"), ("--advertise",))):
            seed, _ = self.seed(source, *flags)
            note = seed.wait_for(lambda p: [line for line in p.errors if "this machine only" in line],
                                 "the note")[0]
            for word in words:
                self.assertIn(word, note)
            seed.signal(15)
        reachable, _ = self.seed(source, "--insecure", "--advertise", "192.0.2.7")
        self.assertNotIn("this machine only", reachable.signal(15).stderr)

    def test_ports_that_are_taken(self):
        source = self.checkpoint(size="4MiB")
        _, ticket = self.seed(source, "--listen", "127.0.0.1:0")
        taken = peer_of(ticket)
        self.assert_refused(self.run_command("seed", source, "--listen", taken), 1, taken, "in use")
        ended = self.start_fetch(ticket, self.dir / "copy", "--listen", taken).end()
        self.assert_refused(ended, 1, taken, "in use")
        self.assertFalse((self.dir / "copy").exists())

    def test_addresses_that_nobody_can_dial_are_not_advertised(self):
        source = self.checkpoint(size="4MiB")
        for address in ("127.0.0.1:0", ":7000", "0.0.0.0:7000", "[::]:7000", "[::]", "224.0.0.1:7000",
                        "255.255.255.255:1", "[ff02::1]:1", "[fe80::1%lo]:1", "a b:1", "h:99999", "h" * 300):
            self.assert_refused(self.run_command("seed", source, "--advertise", address), 2, "advertise")
        self.assert_refused(self.run_command("seed", source, *["--advertise", "h:1"] * 17), 2, "16")
        self.assert_refused(self.run_command("seed", source, "--listen", "192.0.2.1:7000", "--insecure"), 1,
                            "192.0.2.1:7000", "not an address of this machine")

    def test_peers_are_addresses_or_tickets(self):
        source = self.checkpoint(size="4MiB")
        _, ticket = self.seed(source, "--listen", "[::1]:0")
        port = peer_of(ticket).rsplit(":", 1)[1]
        for i, peer in enumerate((f"localhost:{port}", f"[::1]:{port}", f"localhost:{port}/{id_of(ticket)}",
                                  ticket, f"127.0.0.1:1,localhost:{port}")):
            self.fetch(id_of(ticket), self.dir / f"copy{i}", "--peer", peer)
        for peer in (f"localhost:{port}/{ID}", "0.0.0.0:1", ":1", "a:b"):
            ended = self.start_fetch(id_of(ticket), self.dir / "refused", "--peer", peer).end()
            self.assert_refused(ended, 2)

    def test_a_source_that_comes_later_is_waited_for(self):
        source = self.checkpoint(size="4MiB")
        seed, ticket = self.seed(source)
        seed.kill()
        fetch = self.start_fetch(ticket, self.dir / "copy", "--wait", "1h", "--stall-timeout", "2", "-v")
        fetch.wait_for(lambda p: sum("nothing listens there" in line for line in p.errors) > 4,
                       "dials that failed for longer than the stall timeout")
        self.seed(source, "--listen", peer_of(ticket))
        ended = fetch.end()
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assert_same_tree(source, self.dir / "copy")


class HostsTest(SwarmTest):
    def setUp(self):
        super().setUp()
        self.source = self.checkpoint(size="4MiB", layers=2)

    def network(self, hosts):
        try:
            self.box = self.enterContext(NetBox(hosts, "1gbit", "1gbit"))
        except NotPermitted as error:
            skip(self, "network namespaces with limited links are not permitted here", str(error))

    def on(self, host, *command):
        """Runs a command on a host to its end; returns what it printed."""
        process = self.box.popen(host, [str(word) for word in command], stdout=subprocess.PIPE, text=True)
        output, _ = process.communicate()
        self.assertEqual(process.returncode, 0, command)
        return output

    def start_on(self, host, *arguments, hosts_file=None):
        """Starts shardswarm on a host, with a state directory of its own and, if there is a
        `hosts_file`, with that in place of /etc/hosts."""
        command = [str(BIN / "shardswarm"), *map(str, arguments), "--state", str(self.dir / f"state{host}")]
        if hosts_file:
            command = ["unshare", "--mount", "sh", "-c",
                       f"mount --bind '{hosts_file}' /etc/hosts && exec \"$@\"", "sh", *command]
        process = Process(command, self.env,
                          lambda words, **options: self.box.popen(host, words, **options))
        self.processes.append(process)
        return process

    def seed_on(self, host, *arguments):
        process = self.start_on(host, "seed", self.source, *arguments)
        return process.wait_for(lambda p: p.lines and p.lines[0].strip(), "the ticket")

    def fetch_on(self, host, ticket, name, *arguments, hosts_file=None):
        ended = self.start_on(host, "fetch", ticket, "--to", self.dir / name, "--json", "--no-reuse",
                              *arguments, hosts_file=hosts_file).end()
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assert_same_tree(self.source, self.dir / name)
        return ended.done

    def key(self, name):
        path = self.dir / name
        self.assertEqual(self.run_command("key", "new", path).code, 0)
        return path

    def hosts_file(self, *lines):
        path = self.dir / "hosts"
        path.write_text("\n".join(("127.0.0.1 localhost", *lines, "")))
        return path

    def add_v6(self, host, address):
        self.on(host, "ip", "-6", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")

    def test_hosts_that_have_ipv6_only(self):
        self.network(2)
        for host in range(2):
            for device in ("eth0", "lo"):
                self.on(host, "ip", "-4", "addr", "flush", "dev", device)
            self.add_v6(host, f"fd00:77::{host + 1}")
            self.add_v6(host, f"fe80::77:{host + 1}")
        key = self.key("a.key")
        ticket = self.seed_on(0, "--key", key)
        self.assertEqual(peers_of(ticket), [f"[fd00:77::1]:{PORT}"])
        done = self.fetch_on(1, ticket, "copy", "--key", key)
        self.assertEqual([address.rsplit(":", 1)[0] for address in done["addresses"]], ["[fd00:77::2]"])
        # An address of one cable is dialed when somebody names it with the interface.
        self.fetch_on(1, id_of(ticket), "by cable", "--key", key, "--peer", f"[fe80::77:1%eth0]:{PORT}")

    def test_without_a_port_the_next_one_is_taken(self):
        self.network(1)
        self.assertEqual([peer_of(self.seed_on(0, "--insecure")) for _ in range(3)],
                         [f"{self.box.address(0)}:{PORT + i}" for i in range(3)])

    def test_a_hole_at_the_first_address_of_a_name(self):
        self.network(2)
        for host in range(2):
            self.add_v6(host, f"fd00:77::{host + 1}")
        # Packets to this address leave, and nobody takes them.
        self.on(1, "ip", "-6", "neigh", "add", "fd00:77::dead", "lladdr", "02:00:00:00:de:ad", "dev",
                "eth0", "nud", "permanent")
        hosts = self.hosts_file("fd00:77::dead node-b", f"{self.box.address(0)} node-b")
        first = self.on(1, "unshare", "--mount", "sh", "-c",
                        f"mount --bind '{hosts}' /etc/hosts && getent ahosts node-b").split()[0]
        if first != "fd00:77::dead":
            skip(self, "this machine prefers IPv4 addresses of a name", first)
        ticket = self.seed_on(0, "--insecure")
        self.fetch_on(1, ticket_of(id_of(ticket), f"node-b:{PORT}"), "copy", "--insecure",
                      "--stall-timeout", "15", hosts_file=hosts)

    def test_a_name_whose_addresses_belong_to_two_clusters(self):
        self.network(3)
        keys = [self.key("a.key"), self.key("b.key")]
        tickets = [self.seed_on(host, "--key", key) for host, key in enumerate(keys)]
        hosts = self.hosts_file(*(f"{self.box.address(host)} nodes" for host in range(2)))
        # Whichever address comes first, for one of the keys it is the wrong one.
        for name, key in zip("ab", keys):
            self.fetch_on(2, ticket_of(id_of(tickets[0]), f"nodes:{PORT}"), name, "--key", key,
                          hosts_file=hosts)

    def test_a_node_whose_other_addresses_lead_nowhere_is_refused_at_once(self):
        self.network(2)
        ticket = self.seed_on(0, "--key", self.key("a.key"))
        where = ticket_of(id_of(ticket), f"{self.box.address(0)}:{PORT}", f"{self.box.address(0)}:1",
                          f"[fd00:99::1]:{PORT}")
        # The stall timeout is longer than a test may take.
        ended = self.start_on(1, "fetch", where, "--to", self.dir / "copy", "--stall-timeout", "3600",
                              "--key", self.key("b.key")).end()
        self.assertEqual(ended.code, 7, ended.stderr)
        self.assertIn("it has another cluster key", ended.stderr)

    def test_the_machines_name_may_mean_loopback(self):
        self.network(1)
        hosts = self.hosts_file("127.0.1.1 node-a")
        seed = self.start_on(0, "seed", self.source, "--insecure", "--listen", "node-a",
                             hosts_file=hosts)
        seed.wait_for(lambda p: any("127.0.1.1 here, a loopback address" in line for line in p.errors),
                      "the note that nobody else can reach it")
        ticket = seed.wait_for(lambda p: p.lines and p.lines[0].strip(), "the ticket")
        self.assertEqual(peers_of(ticket), [f"127.0.1.1:{PORT}"])


if __name__ == "__main__":
    unittest.main()
