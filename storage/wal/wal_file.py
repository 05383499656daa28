"""The journal (-wal): how much of it is in use, and bringing it into the database's own file."""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path
from typing import Any, Literal

from storage.sidecar import sidecar_path

# https://sqlite.org/fileformat2.html#walformat: the size of a page, and the salt, which is new each
# time that the journal begins anew, and stands in each frame that was written since.
HEAD = struct.Struct(">8xI4x8s8x")
FRAME_HEAD = struct.Struct(">8x8s8x")
How = Literal["PASSIVE", "RESTART", "TRUNCATE"]
sync = getattr(os, "fdatasync", os.fsync)


class WalFile:
    """The journal of a database that this process has open.

    It opens neither the database's file nor the journal's index (-shm): to close such a file frees
    all locks that the process has in it, SQLite's too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal: int | None = None
        self._file: int | None = None
        self._ended = b"", 0

    def reaches(self, size_bytes: int) -> bool:
        """Whether so much stands in it that was not there when it was ended. Raises OSError."""
        head = self._head()
        if head is None:
            return False
        page_bytes, salt = head
        ended_salt, ended_frames = self._ended
        frame_bytes = FRAME_HEAD.size + page_bytes
        frame = size_bytes // frame_bytes + (ended_frames if salt == ended_salt else 0)
        return self._read(FRAME_HEAD, HEAD.size + frame * frame_bytes) == (salt,)

    def end(self, connection: sqlite3.Connection) -> bool:
        """Bring all of it into the file; then the next commit begins it anew.

        False where somebody was in the way. Raises sqlite3.Error, OSError.
        """
        head = self._head()
        frames = checkpoint(connection, "RESTART")
        if frames is None:
            return False
        # That commit may add to it nevertheless: where somebody has begun to read before.
        self._ended = (head[1], frames) if head else (b"", 0)
        return True

    def sync_file(self) -> None:
        """What was brought into the database's file is on the disk on return.

        Not where SQLite's descriptor of it cannot be found; then it is once the journal is ended.
        """
        file = self._descriptor()
        if file is not None:
            sync(file)

    def close(self) -> None:
        if self._wal is not None:
            os.close(self._wal)

    def _head(self) -> tuple[int, bytes] | None:
        """The size of its pages and its salt; None where nothing stands in it."""
        found = self._read(HEAD, 0)
        return (found[0], found[1]) if found else None

    def _read(self, part: struct.Struct, begin: int) -> tuple[Any, ...]:
        """What stands there; () behind its end."""
        if self._wal is None:
            self._wal = os.open(sidecar_path(self._path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        found = os.pread(self._wal, part.size, begin)
        return part.unpack(found) if len(found) == part.size else ()

    def _descriptor(self) -> int | None:
        """One of SQLite's own; they are closed without our knowing."""
        database = self._path.stat()
        if self._file is None or not _is(self._file, database):
            found = (int(name) for name in os.listdir("/dev/fd"))
            self._file = next((fd for fd in found if _is(fd, database)), None)
        return self._file


def _is(descriptor: int, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file)
    except OSError:
        return False


def checkpoint(connection: sqlite3.Connection, how: How) -> int | None:
    """Bring the journal into the file; how many frames it had. Nobody is waited for: None where
    somebody was in the way.

    PASSIVE does as much as it can and is never in the way of a commit; RESTART does all, so that
    the next commit begins the journal anew; TRUNCATE also cuts it to nothing.
    """
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=0")
    try:
        busy, frames, _ = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_LOCKED:
            raise
        return None
    finally:
        connection.execute(f"PRAGMA busy_timeout={timeout_ms}")
    return None if busy else int(frames)
