"""TLS whose records the kernel makes, on a kernel that can: files are sent without a copy by us."""

import os
import pathlib
import platform
import tempfile
import unittest

from skips import skip
from virtual_machine import Absent, VirtualMachine

BIN = pathlib.Path(os.environ.get("SHARDSWARM_BIN", "build/bin"))
# Programs run 10 to 50 times slower there.
TIMEOUT = 300
MODULES = ["net/tls/*.ko", "crypto/*.ko", "arch/x86/crypto/*.ko", "lib/crypto/*.ko"]
SCRIPT = """
cd /tmp
tests() { transport_test --gtest_color=no --gtest_filter="$1"; }
modprobe tls
echo >/proc/sys/kernel/modprobe
export KERNEL_REFUSES_KEYS=for-it-cannot-load-ciphers
tests 'KernelTlsAsked.*'
unset KERNEL_REFUSES_KEYS
echo /sbin/modprobe >/proc/sys/kernel/modprobe
modprobe aesni-intel
tests '*/KernelTls.*:PlainAndTls/*Whole*'
shardswarm-make-checkpoint source --size 24MiB --layers 4
shardswarm key new key
export SHARDSWARM_KEY=/tmp/key
counted() { sed -n 's/^TlsTxSw *//p' /proc/net/tls_stat; }
before=$(counted)
shardswarm seed source --listen 127.0.0.1:7001 --state one >ticket &
until grep -q shardswarm: ticket; do sleep 1; done
ticket=$(grep -o 'shardswarm:[^ ]*' ticket)
shardswarm -vv fetch "$ticket" --to in-kernel --state two --listen 127.0.0.1:7002 --no-reuse
echo "sockets that encrypt: $before, $(counted)"
before=$(counted)
shardswarm -q fetch "$ticket" --to mixed --state three --listen 127.0.0.1:7003 --no-reuse --no-kernel-tls
echo "one side only: $before, $(counted)"
for copy in in-kernel mixed; do
  for file in source/*; do cmp $file $copy/${file#source/}; done
done
echo 'all copies are equal'
kill %1
"""


class KernelTlsTest(unittest.TestCase):
    def test_a_kernel_with_tls_sends_what_it_encrypts(self):
        if platform.machine() != "x86_64":
            skip(self, "the virtual machine is one for amd64")
        try:
            machine = VirtualMachine(MODULES)
        except Absent as error:
            skip(self, "no virtual machine with another kernel here", str(error))
        for program in ["transport_test", "shardswarm", "shardswarm-make-checkpoint"]:
            machine.add_program(BIN / program)
        with tempfile.TemporaryDirectory() as folder:
            console, code = machine.run(SCRIPT, folder, TIMEOUT)
        self.assertEqual(code, 0, console)
        self.assertEqual(console.count("[  PASSED  ]"), 2, console)
        self.assertNotIn("SKIPPED", console)
        self.assertIn("OK ] AcceptingAndDialing/KernelTls.BytesAndFilesArriveInOrder/1", console)
        self.assertIn("the kernel encrypts what goes to 127.0.0.1", console)
        self.assertIn("all copies are equal", console)
        for said, sockets in [("sockets that encrypt", 2), ("one side only", 1)]:
            line = next(line for line in console.splitlines() if line.startswith(said))
            before, after = map(int, line.partition(": ")[2].split(", "))
            self.assertEqual(after - before, sockets, console)


if __name__ == "__main__":
    unittest.main()
