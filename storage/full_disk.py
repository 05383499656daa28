"""Tells a full disk from other trouble with the database, and says what to do about it."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
LITTLE_BYTES = 1_000_000


def has_little_room(path: Path | None) -> bool:
    """Return whether the disk of the database has next to no room, though it may take a page."""
    return path is not None and shutil.disk_usage(path.absolute().parent).free < LITTLE_BYTES


def free_some_space(path: Path | None, exc: Exception) -> str:
    """Return what to do if the disk of the database is full, without a full stop; "" if not."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    is_full = code == sqlite3.SQLITE_FULL or (isinstance(exc, OSError) and exc.errno in FULL)
    # On a full disk, SQLite calls it an I/O error if it cannot make its -shm file.
    if path is None or not (is_full or code == sqlite3.SQLITE_IOERR):
        return ""
    folder = path.absolute().parent
    free = shutil.disk_usage(folder).free
    if not is_full and free >= LITTLE_BYTES:
        return ""
    return f"Free some space on the disk of {folder}, which has {free // 1024} KiB free"
