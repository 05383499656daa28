"""A connection for people who look around and may ask anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from storage.audit.reading import Reader
from storage.reader import open_reader

VALUE_LIMIT_BYTES = 64 * 2**20
FORBIDDEN = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}


def open_for_browsing(path: Path) -> Reader:
    """`open_reader` for questions of a stranger's: no other file, no value of a gigabyte.

    Raises CannotOpen with what to do.
    """
    connection = open_reader(path)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_LIMIT_BYTES)
    connection.set_authorizer(_authorize)
    return connection


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action in FORBIDDEN else sqlite3.SQLITE_OK
