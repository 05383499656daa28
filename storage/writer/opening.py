"""Opens the database for its writer: creates the file, sets pragmas, runs migrations."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from storage import schema
from storage.errors import CannotOpen
from storage.full_disk import free_some_space
from storage.one_name import require_one_name
from storage.wal.checkpoint_schedule import CheckpointSchedule
from storage.wal.wal_file import WalFile
from storage.writer.connection import WriterConnection

Durability = Literal["full", "normal"]
# Python raises UnicodeDecodeError if SQLite's error quotes a damaged schema.
NOT_TEXT = "its schema is damaged: it is not text"
DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


@contextmanager
def opened(
    path: Path | None,
    durability: Durability,
    busy_timeout_s: float,
    own_checkpoints: bool,
    backup: bool,
) -> Iterator[tuple[WriterConnection, CheckpointSchedule | None]]:
    """Yield the writer's connection, and the schedule of its own checkpoints, if it makes them.

    backup: copy a file of an older version before it is changed.

    Raises OSError, sqlite3.Error, CannotOpen, UnicodeDecodeError.
    """
    if path is None:
        with closing(_connect(":memory:", durability, busy_timeout_s, backup=False)) as connection:
            yield connection, None
        return
    require_one_name(path)
    _create(path.resolve())
    with (
        closing(_connect(str(path), durability, busy_timeout_s, backup=backup)) as connection,
        closing(WalFile(path)) as wal,
    ):
        if not own_checkpoints:
            yield connection, None
            return
        connection.execute("PRAGMA wal_autocheckpoint=0")
        with closing(CheckpointSchedule(connection, path, wal)) as checkpoints:
            yield connection, checkpoints


def cannot_open(path: Path | None, exc: Exception) -> CannotOpen:
    """Return the error that says why the database cannot be opened, and what to do."""
    reason = f"{exc.strerror} ({exc.filename})" if isinstance(exc, OSError) else str(exc)
    todo = "Set [storage] path to another file, in a folder that can be written."
    if isinstance(exc, UnicodeDecodeError):
        reason = NOT_TEXT
    if space := free_some_space(path, exc):
        reason = f"its disk is full ({reason})"
        todo = f"{space}, or set [storage] path to another file."
    elif reason == NOT_TEXT or getattr(exc, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
        todo = "Move it away, restore a copy of `rosey-llm backup`, or set [storage] path."
    return CannotOpen(f"Cannot use the database {path}: {reason}. {todo}")


def _create(path: Path) -> None:
    """Create the file, for its owner alone; SQLite gives its -wal and -shm files the same mode.

    Do not touch an existing file: closing a file that SQLite has open would free its locks.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None


def _connect(
    name: str, durability: Durability, busy_timeout_s: float, *, backup: bool
) -> WriterConnection:
    connection = sqlite3.connect(
        name,
        isolation_level=None,
        timeout=busy_timeout_s,
        cached_statements=256,
        factory=WriterConnection,
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={durability}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.execute("PRAGMA secure_delete=ON")  # overwrite deleted data
        if not schema.is_current(connection):
            from storage.migrations import migrate  # see `storage/schema.py`

            migrate(connection, name, backup=backup)
    except BaseException:
        connection.close()
        raise
    return connection
