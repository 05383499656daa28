"""The journal (-wal): how much of it is in use, and bringing it into the database's own file."""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path
from typing import Literal

# https://sqlite.org/walformat.html: the index's version, the size of a page, the frames in use.
INDEX_HEAD = struct.Struct("=I10xHI")
INDEX_VERSION = 3007000
FRAME_HEAD_BYTES = 24
How = Literal["PASSIVE", "RESTART", "TRUNCATE"]
sync = getattr(os, "fdatasync", os.fsync)


class Journal:
    """Holds the database's file and the journal's index open, for as long as any connection of this
    process is: to close a file frees all locks that the process has in it, SQLite's too.
    """

    def __init__(self, path: Path) -> None:
        """Makes the file where there is none. Raises OSError."""
        self._path = path
        # SQLite gives its -wal and -shm files the mode of the database.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._index: int | None = None

    def size_bytes(self) -> int:
        """What of it is in use; the -wal file may be larger. Only while a connection is open."""
        if self._index is None:
            self._index = os.open(f"{self._path}-shm", os.O_RDONLY)
        version, page_bytes, frames = INDEX_HEAD.unpack(
            os.pread(self._index, INDEX_HEAD.size, 0).ljust(INDEX_HEAD.size, b"\0")
        )
        if version != INDEX_VERSION:
            return os.stat(f"{self._path}-wal").st_size
        return int(frames * (FRAME_HEAD_BYTES + (65536 if page_bytes == 1 else page_bytes)))

    def sync_file(self) -> None:
        """What was brought into the database's file is on the disk on return."""
        sync(self._file)

    def close(self) -> None:
        for fd in (self._file, self._index):
            if fd is not None:
                os.close(fd)


def checkpoint(connection: sqlite3.Connection, how: How) -> bool:
    """Bring the journal into the file. Nobody is waited for: False where somebody was in the way.

    PASSIVE does as much as it can and is never in the way of a commit; RESTART does all, so that
    the next commit begins the journal anew; TRUNCATE also cuts it to nothing.
    """
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=0")
    try:
        (busy, *_) = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_LOCKED:
            raise
        busy = True
    finally:
        connection.execute(f"PRAGMA busy_timeout={timeout_ms}")
    return not busy
