"""A small Linux with another kernel than this machine's, Debian's, for what this one lacks: in qemu,
without acceleration, with programs of this machine in its memory."""

import gzip
import os
import pathlib
import re
import shutil
import stat
import subprocess

# Packages that `./dev setup` unpacks, and does not install: a kernel, busybox-static.
UNPACKED = pathlib.Path(__file__).resolve().parents[2] / "build-kernel"
BUSYBOX = UNPACKED / "bin/busybox"
APPLETS = ["sh", "mount", "modprobe", "depmod", "ip", "grep", "sleep", "poweroff", "cmp", "kill", "sed"]
# How it looks on the console that the script has ended.
ENDED = re.compile(r"^the script ended with (\d+)$", re.MULTILINE)
INIT = """#!/bin/sh
export PATH=/bin:/sbin HOME=/root
mount -t devtmpfs devices /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs memory /tmp
depmod -a
ip link set lo up
sh -e /script </dev/null 2>&1
echo "the script ended with $?"
poweroff -f
"""


class Absent(Exception):
    """What it takes is not on this machine."""


class VirtualMachine:
    def __init__(self, modules):
        """`modules`: of the kernel, which to take along, as globs below its `kernel/`. It loads
        them itself when they are asked for, or the script does."""
        images = list(UNPACKED.glob("boot/vmlinuz-*"))
        self._qemu = shutil.which("qemu-system-x86_64")
        if not images or not self._qemu or not BUSYBOX.exists():
            raise Absent(f"qemu-system-x86_64, or what ./dev setup unpacks to {UNPACKED.name}/")
        self._image = images[-1]
        version = self._image.name.removeprefix("vmlinuz-")
        self._entries = {}
        for place in ["dev", "proc", "sys", "tmp", "root"]:
            self._folder(place)
        self.add_file(BUSYBOX, "bin/busybox")
        for applet in APPLETS:
            self._add(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
        self._add("sbin", stat.S_IFLNK | 0o777, b"bin")  # the kernel calls /sbin/modprobe
        self._add("init", stat.S_IFREG | 0o755, INIT.encode())
        home = UNPACKED / "lib/modules" / version
        files = [home / "modules.builtin", home / "modules.order"]
        for pattern in modules:
            found = list(home.glob(f"kernel/{pattern}"))
            if not found:
                raise Absent(f"the kernel's modules {pattern}")
            files += found
        for file in files:
            self.add_file(file, str(file.relative_to(UNPACKED)))

    def add_file(self, source, place):
        source = pathlib.Path(source)
        self._add(place, stat.S_IFREG | (0o755 if os.access(source, os.X_OK) else 0o644),
                  source.read_bytes())

    def add_program(self, source):
        """With the libraries that it needs; to be found as `/bin/NAME`."""
        source = pathlib.Path(source)
        self.add_file(source, f"bin/{source.name}")
        needed = subprocess.run(["ldd", source], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", needed):
            self.add_file(library, library.lstrip("/"))

    def run(self, script, folder, timeout):
        """Starts it, runs `script` with a shell that ends at the first failure, and stops it again.
        Returns what was written to the console, and the script's exit code (None: it did not end,
        or not in `timeout` seconds). `folder`: for the archive."""
        self._add("script", stat.S_IFREG | 0o644, script.encode())
        archive = pathlib.Path(folder) / "archive.gz"
        archive.write_bytes(gzip.compress(self._archive(), 1))
        machine = subprocess.Popen(
            [self._qemu, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
             "-no-reboot", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024",
             "-kernel", self._image, "-initrd", archive,
             "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            console = machine.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            machine.kill()
            console = machine.communicate()[0]
        console = console.decode(errors="replace").replace("\r\n", "\n")
        ended = ENDED.search(console)
        return console, int(ended[1]) if ended else None

    def _folder(self, place):
        for parent in list(reversed(pathlib.PurePath(place).parents))[1:]:
            self._entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
        self._entries.setdefault(place, (stat.S_IFDIR | 0o755, b""))

    def _add(self, place, mode, content):
        if "/" in place:
            self._folder(place.rpartition("/")[0])
        self._entries[place] = (mode, content)

    def _archive(self):
        """In the format `newc` of cpio: the kernel's Documentation, buffer-format.rst."""
        out = bytearray()
        entries = [*self._entries.items(), ("TRAILER!!!", (0, b""))]
        for number, (place, (mode, content)) in enumerate(entries, 1):
            name = place.encode() + b"\0"
            fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
            out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
            out += b"\0" * (-len(out) % 4)
            out += content
            out += b"\0" * (-len(out) % 4)
        return bytes(out)
