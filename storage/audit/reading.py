"""A look into the database, with SQLite's errors as sentences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.errors import CannotOpen
from storage.reader import open_reader

Reader = sqlite3.Connection


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """A connection that reads the database at `path`. Raises CannotOpen, also within."""
    with closing(open_reader(path)) as connection:
        try:
            yield connection
        except sqlite3.Error as exc:
            raise CannotOpen(f"{path} cannot be read: {exc}") from exc
