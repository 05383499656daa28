"""Tells whether a service could use a database, without creating or changing a file."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage import schema
from storage.errors import CannotOpen, DatabaseInUse
from storage.lock import owner
from storage.one_name import require_one_name
from storage.writer.opening import cannot_open


def examine(database: Path) -> None:
    """Raise CannotOpen if a service could not use the database, DatabaseInUse if one does now."""
    if (name := owner(database)) is not None:
        raise DatabaseInUse(f"{database} is in use by {name}.")
    try:
        _examine_file(database.resolve())
    except (OSError, sqlite3.Error, UnicodeDecodeError) as exc:
        raise cannot_open(database, exc) from exc


@contextmanager
def undisturbed(database: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads the database, whether a service uses it or not.

    Raises CannotOpen. A file that no service uses is read as it is on the disk, since a common
    reader would leave files beside it.
    """
    path = database.resolve()
    options = "mode=ro" if owner(database) is not None else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?{options}", uri=True)) as connection:
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise cannot_open(database, exc) from exc


def require_writable(folder: Path) -> None:
    """Raise OSError if files cannot be made in the folder, or if it cannot be made itself."""
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        # On Linux this file has no name, so that the folder does not change at all.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        # Name the folder: the file's name is random.
        raise OSError(exc.errno, exc.strerror, str(folder)) from exc


def _examine_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    require_writable(path.parent)
    require_one_name(path)
    if not path.exists():
        return
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    with undisturbed(path) as connection:
        connection.execute("PRAGMA schema_version").fetchone()
        if newer := schema.newer_steps(connection):
            raise CannotOpen(schema.written_by_newer(str(path), newer))
