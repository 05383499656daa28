"""Refuses a database file that has a second name: its WAL and its lock would not be shared.

SQLite puts the WAL beside the name by which it opened the file. Two processes that use two names of
one file would each have a WAL of their own, and destroy the database.
"""

from __future__ import annotations

import re
from pathlib import Path

from storage.errors import CannotOpen

MOUNTS = Path("/proc/self/mountinfo")


def require_one_name(path: Path, mounts: Path = MOUNTS) -> None:
    """Raise CannotOpen if the file has hard links, or is mounted by itself.

    mounts: Linux's list of mounts; other systems have none, and only hard links are seen.
    """
    path = path.resolve()
    if not path.is_file():
        return
    if (names := path.stat().st_nlink) > 1:
        raise CannotOpen(
            f"{path} has {names} names (hard links). A service that used another one would destroy"
            " it. Copy it with `rosey-llm backup`, and remove the other names."
        )
    if str(path) in _mount_points(mounts):
        raise CannotOpen(
            f"{path} is mounted as a single file. A service outside of the mount would destroy it."
            " Mount its folder instead."
        )


def _mount_points(mounts: Path) -> set[str]:
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    return {_unescaped(line.split(" ")[4]) for line in lines}


def _unescaped(field: str) -> str:
    """Return a path in which a space was written as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
