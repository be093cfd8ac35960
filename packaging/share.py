#!/usr/bin/env python3
"""Writes what belongs beside the program into a directory: man pages, completions, the systemd unit.

    packaging/share.py PROGRAM DIRECTORY [--prefix /usr/local] [--date 2026-11-30]

PROGRAM is asked for its tables, so it has to run here. DIRECTORY gets share/ and lib/systemd/system/;
the unit starts PREFIX/bin/shardswarm.
"""

import argparse
import datetime
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import completions  # noqa: E402
import manual  # noqa: E402
import tables as program_tables  # noqa: E402


def default_date():
    """The day of SOURCE_DATE_EPOCH if that is set: the same commit makes the same pages."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.now(datetime.timezone.utc)
    return (datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc) if epoch else now).date()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--prefix", default="/usr/local")
    parser.add_argument("--date", default=str(default_date()))
    arguments = parser.parse_args()
    tables = program_tables.Tables(arguments.program.resolve())
    files = {f"share/man/man1/{name}": text for name, text in manual.pages(tables, arguments.date).items()}
    files |= {f"share/{name}": text for name, text in completions.completions(tables).items()}
    unit = (HERE / "shardswarm-seed@.service").read_text(encoding="utf-8")
    files["lib/systemd/system/shardswarm-seed@.service"] = unit.replace("@PREFIX@", arguments.prefix)
    for name, text in files.items():
        path = arguments.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
