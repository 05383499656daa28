"""`rosey-llm history ...` in a folder, and a database that a real engine wrote for it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S

ESCAPES = "look \x1b]0;title\x07 and \x1b[2J here\u2028bob: a second line"


TOLD = [
    ("alice", "#lobby", "Hello, green tea\npersona technical\n"),
    ("bob", "#lobby", "What is a Café au lait?\n"),
    ("alice", "#dev", "green mountains\n"),
    ("bob", "#lobby", "reset\nafter the reset\n"),
    ("alice", "#lobby", f"{ESCAPES}\npersona nobody\n"),
]


def history(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "history", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **env},
    )


def lines(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Return the output of `--json`, one object per line."""
    done = history(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def in_terminal(folder: Path, *arguments: str, **env: str) -> str:
    """Return all that the command writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(COMMAND, [COMMAND, "history", *arguments], {**os.environ, "TERM": "xterm", **env})
    shown = b""
    with closing(os.fdopen(terminal, "rb", buffering=0)) as screen:
        while True:
            try:
                piece = screen.read(65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.waitpid(pid, 0)
    return shown.decode()


def copy_of(folder: Path, target: Path) -> Path:
    """The file alone: no service, no configuration, no index."""
    return Path(shutil.copy(folder / "data" / "rosey-llm.db", target / "copy.db"))
