"""An operator's own connection: it reads, while the service writes, and never more."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from storage.errors import CannotOpen

BUSY_TIMEOUT_S = 5.0


def open_reader(path: Path) -> sqlite3.Connection:
    """The database at `path`, or a copy of one, for reading. CannotOpen says what to do.

    Rows are `sqlite3.Row`. A file in a folder that cannot be written is read as it is, without
    what a -wal file beside it may hold.
    """
    try:
        is_there = path.is_file()
    except PermissionError as exc:  # before Python 3.14, where its folder may not be entered
        raise CannotOpen(_forbidden(path)) from exc
    except OSError as exc:
        raise CannotOpen(f"{path} cannot be read: {exc.strerror}.") from exc
    if not is_there:
        raise CannotOpen(
            f"There is no database at {path}. Start the service once, or name another with "
            "--database or [storage] path."
        )
    # Not opened to see: to close it again would free the locks that this process may have on it.
    if not os.access(path, os.R_OK):
        raise CannotOpen(_forbidden(path))
    problem: sqlite3.Error | None = None
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{options}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_S,
        )
        try:
            connection.execute("PRAGMA query_only=ON")
            _check(connection, path)
        except sqlite3.OperationalError as exc:
            connection.close()
            problem = exc
            if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                break  # somebody writes: read as it is, the file may make no sense
        except (sqlite3.DatabaseError, CannotOpen) as exc:
            connection.close()
            raise CannotOpen(_reason(path, exc)) from exc
        else:
            connection.row_factory = sqlite3.Row
            return connection
    raise CannotOpen(_reason(path, problem)) from problem


def _forbidden(path: Path) -> str:
    return f"{path} cannot be read: {os.strerror(errno.EACCES)}. Be the service's user."


def _check(connection: sqlite3.Connection, path: Path) -> None:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(history)")}
    if not columns:
        raise CannotOpen(f"{path} is not a database of rosey-llm.")
    if "digest" not in columns:
        raise CannotOpen(
            f"{path} was written by an older rosey-llm. Start the service with it once."
        )


def _reason(path: Path, problem: Exception | None) -> str:
    return str(problem) if isinstance(problem, CannotOpen) else f"{path} cannot be read: {problem}"
