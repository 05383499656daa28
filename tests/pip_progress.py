"""Runs pip, and shows in one line what it does: `python tests/pip_progress.py pip install ...`.

Without a terminal it prints a line for each large download and one for the installation. What pip
printed is shown only if it fails. Runs before anything is installed, so it imports nothing else.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

_LARGE_MB = 10.0
_TICK_S = 1.0
_TAIL_LINES = 30
_SIZES = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}


def what_happens(line: str) -> tuple[str, bool]:
    """Return what a line of pip says in few words ("" for nothing), and if it takes long."""
    if found := re.match(r"\s*Downloading (?:\S*/)?([\w.]+?)-\d\S* \(([\d.]+) ([kMG]B)\)", line):
        name, size, unit = found.groups()
        large = float(size) * _SIZES[unit] >= _LARGE_MB
        return f"downloading {name} ({size} {unit})", large
    if found := re.match(r"Collecting ([\w.-]+)", line):
        return f"looking for {found[1]}", False
    if found := re.match(r"Installing collected packages: (.*)", line):
        return f"installing {len(found[1].split(','))} packages", True
    return "", False


class ProgressLine:
    """The line on a terminal, with the seconds that have passed; else lines for what takes long."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._live = out.isatty()
        self._began = time.monotonic()
        self._text = "starting pip"
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        if self._live:
            self._ticker.start()

    def show(self, line: str) -> None:
        text, long = what_happens(line)
        if text:
            self._text = text
            if long and not self._live:
                print(f"  {text}", file=self._out, flush=True)

    def end(self) -> None:
        self._ended.set()
        if self._live:
            self._ticker.join()
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _tick(self) -> None:
        while True:
            width = shutil.get_terminal_size().columns - 1
            line = f"  {time.monotonic() - self._began:3.0f} s  {self._text}"
            self._out.write(f"\r\x1b[K{line[:width]}")
            self._out.flush()
            if self._ended.wait(_TICK_S):
                return


def main(command: list[str]) -> int:
    """Run the command; return its exit code."""
    progress = ProgressLine(sys.stdout)
    said: list[str] = []
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in _lines(process):
                said = [*said[1 - _TAIL_LINES :], line]
                progress.show(line)
    finally:
        progress.end()
    if process.returncode:
        sys.stderr.write("".join(said))
    return process.returncode


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
