"""Reads the headers in SQLite's WAL file to learn how much is in use: its size does not say that.

The file keeps its size when the WAL restarts. Asking SQLite would need a checkpoint.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from storage.sidecar import sidecar_path

# https://sqlite.org/fileformat2.html#walformat: the size of a page, and the salt, which is new each
# time the WAL restarts, and is repeated in each frame that was written since.
HEAD = struct.Struct(">8xI4x8s8x")
FRAME_HEAD = struct.Struct(">8x8s8x")
How = Literal["PASSIVE", "RESTART", "TRUNCATE"]
sync = getattr(os, "fdatasync", os.fsync)
FILES_TRIED = 1024  # if the open files cannot be listed; takes some milliseconds, once


class WalFile:
    """The WAL of a database that this process has open.

    It opens neither the database file nor the WAL's index (-shm): closing such a file would free
    all locks that the process has on it, SQLite's too.

    descriptors: the folder that lists this process's open files, if the system has one.
    """

    def __init__(self, path: Path, *, descriptors: Path = Path("/dev/fd")) -> None:
        self._path = path
        self._descriptors = descriptors
        self._wal_fd: int | None = None
        self._database_fd: int | None = None
        self._at_restart = b"", 0

    def reaches(self, size_bytes: int) -> bool:
        """Return whether it has grown by this much since `restart`. Raises OSError."""
        head = self._head()
        if head is None:
            return False
        page_bytes, salt = head
        restart_salt, restart_frames = self._at_restart
        frame_bytes = FRAME_HEAD.size + page_bytes
        frame = size_bytes // frame_bytes + (restart_frames if salt == restart_salt else 0)
        return self._read(FRAME_HEAD, HEAD.size + frame * frame_bytes) == (salt,)

    def restart(self, connection: sqlite3.Connection) -> bool:
        """Copy all of it into the database file; then the next commit restarts it.

        Return False if another connection prevented that. Raises sqlite3.Error, OSError.
        """
        head = self._head()
        frames = checkpoint(connection, "RESTART")
        if frames is None:
            return False
        # The next commit may still append, if another connection starts to read before it.
        self._at_restart = (head[1], frames) if head else (b"", 0)
        return True

    def sync_database(self) -> None:
        """Sync the database file to the disk, with a descriptor of SQLite's own.

        If none can be found, do nothing; then `restart` syncs the file.
        """
        file = self._descriptor()
        if file is not None:
            sync(file)

    def close(self) -> None:
        if self._wal_fd is not None:
            os.close(self._wal_fd)

    def _head(self) -> tuple[int, bytes] | None:
        """Return the size of its pages and its salt; None if it is empty."""
        found = self._read(HEAD, 0)
        return (found[0], found[1]) if found else None

    def _read(self, part: struct.Struct, begin: int) -> tuple[Any, ...]:
        """Return the fields of `part` at `begin`; () after the end of the file."""
        if self._wal_fd is None:
            self._wal_fd = os.open(sidecar_path(self._path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        found = os.pread(self._wal_fd, part.size, begin)
        return part.unpack(found) if len(found) == part.size else ()

    def _descriptor(self) -> int | None:
        """Return one of SQLite's own descriptors; it is checked, since SQLite may close it."""
        database = self._path.stat()
        if self._database_fd is None or not _is_same_file(self._database_fd, database):
            found = (fd for fd in self._open_files() if _is_same_file(fd, database))
            self._database_fd = next(found, None)
        return self._database_fd

    def _open_files(self) -> Iterable[int]:
        try:
            return [int(name) for name in os.listdir(self._descriptors)]
        except OSError:  # a jail or a container may lack it
            return range(FILES_TRIED)


def _is_same_file(descriptor: int, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file)
    except OSError:
        return False


def checkpoint(connection: sqlite3.Connection, how: How) -> int | None:
    """Copy the WAL into the database file; return how many frames it had.

    Does not wait for other connections; returns None if one was in the way. PASSIVE copies as much
    as it can and never blocks a commit; RESTART copies all, so that the next commit restarts the
    WAL; TRUNCATE also truncates it to no bytes.
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
