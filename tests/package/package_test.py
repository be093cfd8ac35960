"""The packages that `./dev package` made, as those who install them meet them. SHARDSWARM_PACKAGES is
the directory that they are in. Bare systems are made by debootstrap, in build-package/bare, by root."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

PLACE = pathlib.Path(os.environ["SHARDSWARM_PACKAGES"]).resolve()
DEB = next(PLACE.glob("*.deb"))
TARBALL = next(PLACE.glob("*.tar.gz"))
GLIBC_MAX = (2, 34)  # of RHEL 9; Ubuntu 22.04 has 2.35, Debian 12 has 2.36
# What every distribution installs.
OUTSIDE = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}
EXPOSURE_MAX = 2.0  # `systemd-analyze security`: 0 is best, 10 is a service without any limit
UNIT = "lib/systemd/system/shardswarm-seed@.service"
SEED_AND_FETCH = """
    set -e
    cd /tmp && rm -rf model copy state && mkdir model
    echo '{"model_type":"llama"}' >model/config.json
    export XDG_STATE_HOME=/tmp/state HOME=/tmp
    shardswarm key new key >/dev/null
    exec 3< <(exec shardswarm seed model --key key --listen 127.0.0.1:0)
    seed=$!
    read -r ticket <&3
    shardswarm fetch "$ticket" --to copy --key key --no-reuse
    kill $seed
    wait $seed
    cmp model/config.json copy/config.json
"""


def output(*command, **options):
    ended = subprocess.run(command, text=True, capture_output=True, timeout=600, check=False, **options)
    if ended.returncode != 0:
        raise AssertionError(f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def inside(root, script):
    """Runs a script of bash in a system of its own, where only loopback is a network."""
    enter = """
        mount --bind "$0" "$0"; mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"
        ip link set lo up 2>/dev/null || ifconfig lo up
        exec chroot "$0" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin bash -c "$1"
    """
    return output("unshare", "-mn", "bash", "-ec", enter, root, script)


class Unpacked(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="shardswarm-package-")
        cls.addClassCleanup(directory.cleanup)
        cls.dir = pathlib.Path(directory.name)
        output("dpkg-deb", "-x", DEB, cls.dir / "deb")
        output("tar", "-xzf", TARBALL, "-C", cls.dir)
        cls.portable = next(cls.dir.glob("shardswarm-*"))


class PortableTest(Unpacked):
    def test_it_needs_only_what_every_distribution_has(self):
        shown = output("objdump", "-p", self.portable / "bin/shardswarm")
        needed = set(re.findall(r"NEEDED +(\S+)", shown))
        self.assertIn("libc.so.6", needed)
        self.assertLessEqual(needed, OUTSIDE)
        self.assertNotIn("RUNPATH", shown)

    def test_no_symbol_is_of_a_newer_glibc(self):
        symbols = output("objdump", "-T", self.portable / "bin/shardswarm")
        newer = {line.split()[-1] for line in symbols.splitlines()
                 for version in re.findall(r"GLIBC_(\d+)\.(\d+)", line)
                 if tuple(map(int, version)) > GLIBC_MAX}
        self.assertIn("GLIBC_2.", symbols)
        self.assertEqual(newer, set())

    def test_licences_of_what_is_linked_in_are_there(self):
        licences = {path.name for path in (self.portable / "share/doc/shardswarm/licenses").iterdir()}
        self.assertGreaterEqual(licences, {"libssl-dev", "libfmt-dev", "libsimdjson-dev",
                                           "libprotobuf-dev", "libzstd-dev"})

    def test_install_and_remove(self):
        prefix = self.dir / "prefix"
        output(self.portable / "install.sh", prefix)
        self.assertTrue((prefix / "share/zsh/site-functions/_shardswarm").is_file())
        self.assertEqual(output(prefix / "bin/shardswarm", "--version").split()[0], "shardswarm")
        output(self.portable / "install.sh", "--remove", prefix)
        self.assertEqual([path for path in prefix.rglob("*") if path.is_file()], [])


class DebTest(Unpacked):
    def test_lintian_has_nothing_to_say(self):
        said = subprocess.run(["lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0", DEB],
                              text=True, capture_output=True, timeout=600, check=True).stdout
        self.assertEqual(said, "")

    def test_no_path_of_this_machine_is_in_the_program(self):
        program = (self.dir / "deb/usr/bin/shardswarm").read_bytes()
        self.assertNotIn(str(PLACE.parent).encode(), program)

    def test_the_program_is_hardened(self):
        program = self.dir / "deb/usr/bin/shardswarm"
        shown = output("readelf", "-Whld", program)
        for mark in ("GNU_RELRO", "NOW", "DYN (Position-Independent Executable"):
            self.assertIn(mark, shown)
        symbols = output("objdump", "-T", program)
        self.assertIn("__stack_chk_fail", symbols)
        self.assertRegex(symbols, r"__\w+_chk")

    def test_the_unit_is_confined(self):
        unit = self.dir / "shardswarm-seed@model.service"
        unit.write_text((self.dir / "deb/usr" / UNIT).read_text())
        said = json.loads(output("systemd-analyze", "security", "--offline=true", "--json=short", unit))
        exposed = {entry["name"] for entry in said if entry["set"] is False}
        self.assertTrue(said)
        self.assertNotIn("ProtectSystem=", exposed)
        text = output("systemd-analyze", "security", "--offline=true", unit)
        level = float(re.search(r"Overall exposure level.*: ([\d.]+)", text).group(1))
        self.assertLessEqual(level, EXPOSURE_MAX)
        groups = output("systemd-analyze", "syscall-filter", "@system-service") + output(
            "systemd-analyze", "syscall-filter", "@aio")
        self.assertIn("@aio", groups)
        self.assertIn("io_uring_setup", groups)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("debootstrap"), "needs root and debootstrap")
class BareTest(Unpacked):
    """In Debian 12's smallest system, with none of our libraries."""

    def setUp(self):
        minimal = PLACE / "bare"
        if not (minimal / "etc/debian_version").exists():
            output("debootstrap", "--variant=minbase", "bookworm", minimal)
        self.root = self.dir / self.id()
        output("cp", "-a", minimal, self.root)

    def test_the_tarball_runs(self):
        shutil.copytree(self.portable, self.root / "opt/shardswarm", dirs_exist_ok=True)
        libraries = inside(self.root, "find /usr/lib '(' -name 'libssl*' -o -name 'libfmt*' ')'")
        self.assertEqual(libraries, "")
        inside(self.root, "/opt/shardswarm/install.sh" + SEED_AND_FETCH)

    def test_the_deb_installs_and_runs(self):
        for name in ("sources.list.d", "apt.conf.d"):
            if pathlib.Path("/etc/apt", name).is_dir():
                shutil.copytree(f"/etc/apt/{name}", self.root / "etc/apt" / name, dirs_exist_ok=True)
        shutil.copytree("/usr/share/keyrings", self.root / "usr/share/keyrings", dirs_exist_ok=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        shutil.copy(DEB, self.root / "tmp/shardswarm.deb")
        output("chroot", self.root, "bash", "-ec",
               "rm -f /etc/apt/sources.list; export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; "
               "apt-get install -y -qq --no-install-recommends /tmp/shardswarm.deb systemd")
        inside(self.root, SEED_AND_FETCH)
        # Here the unit's program is where the unit says.
        said = inside(self.root, "systemd-analyze verify --man=no shardswarm-seed@llama.service 2>&1")
        self.assertEqual(said, "")


if __name__ == "__main__":
    unittest.main()
