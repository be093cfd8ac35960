"""A terminal for tests: a program on a pseudo-terminal of a given width, and what a person sees."""

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time


class Screen:
    """Runs a program with stderr (and stdout, if `both`) on a terminal of `columns`."""

    def __init__(self, arguments, env, columns, both=True):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.columns = columns
        self.popen = subprocess.Popen(arguments, env=env, stdin=subprocess.DEVNULL, stderr=theirs,
                                      stdout=theirs if both else subprocess.DEVNULL)
        os.close(theirs)
        self.ours, self.raw = ours, b""
        self.came = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                part = os.read(self.ours, 1 << 16)
            except OSError as error:
                if error.errno != errno.EIO:  # the other side is closed
                    raise
                part = b""
            with self.came:
                self.raw += part
                self.came.notify_all()
            if not part:
                return

    def wait_for(self, pattern, seconds=60):
        """Blocks until a line that was shown at some time matches; returns it."""
        deadline = time.monotonic() + seconds
        with self.came:
            while True:
                whole = self.shown()
                for line in whole if not self.reader.is_alive() else whole[:-1]:
                    if re.search(pattern, line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no line matches {pattern}: {self.shown()}")
                self.came.wait(left)

    def end(self):
        code = self.popen.wait(60)
        self.reader.join()
        os.close(self.ours)
        return code

    def shown(self):
        """Every line that stood on the screen at some time, without what coloured or erased it."""
        text = self.raw.decode("utf-8", "replace")
        text = re.sub(r"\x1b\[[0-9;]*[mK]", "", text)
        return [line for line in re.split(r"[\r\n]+", text) if line]

    def left(self):
        """The lines that stand there at the end: what is written over another text covers it."""
        lines, row, at = [], [], 0
        text = self.raw.decode("utf-8", "replace")
        for token in re.findall(r"\x1b\[[0-9;]*[a-zA-Z]|.", text, flags=re.S):
            if token == "\n":
                lines.append("".join(row).rstrip())
                row, at = [], 0
            elif token == "\r":
                at = 0
            elif token == "\x1b[K":
                del row[at:]
            elif not token.startswith("\x1b"):
                row[at:at + 1] = [token]
                at += 1
        lines.append("".join(row).rstrip())
        return [line for line in lines if line]
