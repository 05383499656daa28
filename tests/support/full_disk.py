"""A full disk: writes that end and begin it for the database, and a real small disk."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path


def fill(connection: sqlite3.Connection) -> None:
    """Forbid the database to grow from here on; what fits into its free pages is still taken."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")


def make_room(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count=1000000")


def small_disks_work(folder: Path) -> bool:
    """Return whether this machine allows what `small_disk` does."""
    return subprocess.run(small_disk(folder, 4096, "true"), check=False).returncode == 0


def small_disk(folder: Path, size_bytes: int, script: str) -> list[str]:
    """Return a command that runs a shell script with a real disk of this size at `folder`.

    The disk is seen by the command alone, and is gone with it.
    """
    mount = f"mkdir -p {folder} && mount -t tmpfs -o size={size_bytes} tmpfs {folder} && {script}"
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount]
