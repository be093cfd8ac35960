"""What a network in a box leaves on the machine, and what it says where it cannot be made."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from skips import skip

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
import netbox  # noqa: E402  (found through the line above)

HOLDS_A_BOX = """
import netbox, sys
with netbox.NetBox(2, "100mbit", "100mbit") as box:
    box.popen(1, ["sleep", "1000"])
    print(box.namespace(0), box.namespace(1), netbox.scratch(), flush=True)
    sys.stdin.read()
"""


class NetBoxTest(unittest.TestCase):
    def make(self):
        try:
            with netbox.NetBox(1, "100mbit", "100mbit"):
                pass
        except netbox.NotPermitted as error:
            skip(self, "network namespaces with limited links are not permitted here", str(error))

    def holder(self):
        """A process that holds a box, and what is its own: namespaces and a directory."""
        process = subprocess.Popen([sys.executable, "-c", HOLDS_A_BOX], cwd=TOOLS, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stdout.close)
        first, second, place = process.stdout.readline().split()
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        (pathlib.Path(place) / "file").write_bytes(b"x")
        return process, [pathlib.Path("/run/netns", first), pathlib.Path("/run/netns", second),
                         pathlib.Path(place)]

    def test_a_new_box_removes_what_a_killed_run_has_left(self):
        self.make()
        process, own = self.holder()
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertTrue(all(path.exists() for path in own), own)
        self.make()
        self.assertFalse([path for path in own if path.exists()])

    def test_a_new_box_leaves_alone_what_a_living_process_holds(self):
        self.make()
        process, own = self.holder()
        self.make()
        self.assertTrue(all(path.exists() for path in own), own)
        process.stdin.close()
        self.assertEqual(process.wait(), 0)
        self.assertFalse([path for path in own[:2] if path.exists()])

    def before_entering_a_namespace(self, command):
        """Has `ip netns exec` run a command of the shell first."""
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        program = pathlib.Path(place.name, "ip")
        program.write_text(f'#!/bin/sh\n[ "$1 $2" != "netns exec" ] || {command}\n'
                           f'exec {shutil.which("ip")} "$@"\n', "ascii")
        program.chmod(0o755)
        return mock.patch.dict(os.environ, {"PATH": f"{place.name}:{os.environ['PATH']}"})

    def test_says_so_where_no_process_gets_into_a_namespace(self):
        self.make()
        with self.before_entering_a_namespace("exit 1"):
            with self.assertRaises(netbox.NotPermitted):
                netbox.NetBox(1, "100mbit", "100mbit").__enter__()

    def test_a_process_is_in_its_namespace_once_it_is_started(self):
        self.make()
        with netbox.NetBox(1, "100mbit", "100mbit") as box:
            with self.before_entering_a_namespace("sleep 0.2"):
                child = box.popen(0, ["sleep", "1000"])
            self.assertEqual(os.stat(f"/proc/{child.pid}/ns/net").st_ino,
                             os.stat(f"/run/netns/{box.namespace(0)}").st_ino)


if __name__ == "__main__":
    unittest.main()
