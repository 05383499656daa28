"""Read-only connections for operators' queries, while the service writes."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.errors import CannotOpen

Reader = sqlite3.Connection
BUSY_TIMEOUT_S = 5.0
VALUE_LIMIT_BYTES = 64 * 2**20
# What a version before 0.2's last steps of the schema has not.
VIEWS = {
    "history": "SELECT *, NULL AS personal FROM main.history",
    "usage": "SELECT '*' AS scope, 0 AS day, 0 AS requests, 0 AS prompt_tokens, 0 AS cached_tokens,"
    " 0 AS completion_tokens, 0 AS micro_usd, 0 AS estimated, 0 AS unpriced WHERE 0",
}
FORBIDDEN = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}


def open_reader(path: Path) -> Reader:
    """Open the database at `path`, or a copy of one, for reading. Raises CannotOpen.

    Rows are `sqlite3.Row`. In a folder that cannot be written, the file is read as it is, without
    the content of its WAL.
    """
    try:
        is_there = path.is_file()
    except PermissionError as exc:  # before Python 3.14, if its folder may not be entered
        raise CannotOpen(_forbidden(path)) from exc
    except OSError as exc:
        raise CannotOpen(f"Cannot read {path}: {exc.strerror}.") from exc
    if not is_there:
        raise CannotOpen(
            f"There is no database at {path}. Start the service once, or set another path with "
            "--database or [storage] path."
        )
    # Opening it is no test: closing it would free the locks that this process may have on it.
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
            columns = _check(connection, path)
            _stand_in(connection, columns)
            connection.execute("PRAGMA query_only=ON")
        except sqlite3.OperationalError as exc:
            connection.close()
            problem = exc
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                break  # it is being written: read as it is, the file may make no sense
        except (sqlite3.DatabaseError, CannotOpen, UnicodeDecodeError) as exc:
            connection.close()
            raise CannotOpen(_reason(path, exc)) from exc
        else:
            connection.row_factory = sqlite3.Row
            return connection
    raise CannotOpen(_reason(path, problem)) from problem


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Yield a connection that reads the database at `path`. Errors in the block are CannotOpen."""
    with closing(open_reader(path)) as connection:
        try:
            yield connection
        except sqlite3.Error as exc:
            raise CannotOpen(f"Cannot read {path}: {exc}") from exc


def open_for_browsing(path: Path) -> Reader:
    """Open a reader for SQL of strangers: it opens no other file, and makes no huge values.

    Raises CannotOpen.
    """
    connection = open_reader(path)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_LIMIT_BYTES)
    connection.set_authorizer(_authorize)
    return connection


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action in FORBIDDEN else sqlite3.SQLITE_OK


def _forbidden(path: Path) -> str:
    reason = os.strerror(errno.EACCES)
    return f"Cannot read {path}: {reason}. Run this command as the service's user."


def _stand_in(connection: sqlite3.Connection, columns: set[str]) -> None:
    """Let queries of this version read an older file, such as a copy from before an upgrade.

    A temporary view hides the table of its name from them. Statements that name a schema see the
    file as it is.
    """
    for name, version in VIEWS.items():
        missing = not connection.execute(f"PRAGMA table_info({name})").fetchone()
        if missing or (name == "history" and "personal" not in columns):
            connection.execute(f"CREATE TEMP VIEW {name} AS {version}")


def _check(connection: sqlite3.Connection, path: Path) -> set[str]:
    """Return the columns of the history. Raises CannotOpen if it cannot be read."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(history)")}
    if not columns:
        raise CannotOpen(
            f"{path} is not a database of rosey-llm, or a copy without its -wal file. Set another"
            " path with --database, or copy the database with `rosey-llm backup`."
        )
    if "digest" not in columns:
        raise CannotOpen(
            f"{path} was written by an older rosey-llm. Start the service once to migrate it."
        )
    return columns


def _reason(path: Path, problem: Exception | None) -> str:
    if isinstance(problem, CannotOpen):
        return str(problem)
    if isinstance(problem, UnicodeDecodeError):  # SQLite's error quotes it
        return f"Cannot read {path}: its schema is damaged: it is not text"
    reason = f"Cannot read {path}: {problem}"
    if getattr(problem, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
        reason += ". A database that is in use must be copied with `rosey-llm backup`"
    return reason
