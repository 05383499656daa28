"""The full-text index: a separate file beside the database, `<database>-search`.

It is a cache of `history`, fed in batches up to the row `upto`. It is deleted if it is damaged, of
another version, or of another database: it stores the digest of the row `upto`, which differs in
every database. It holds the words of `content` and no text.

Rows to erase are forgotten here first, while their text is still known, and scrubbed last:

    index.forget(rows)   before the database loses the text; these rows are not fed again
    index.scrub()        after it; rewrites the index, so that no byte of the words is left
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.errors import IndexDamaged, StorageUnavailable
from storage.sidecar import sidecar_path

VERSION = 1
TOKENIZER = "unicode61 remove_diacritics 2"
BUSY_TIMEOUT_S = 30.0
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
NOT_WRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
SCHEMA = (
    "CREATE TABLE state (version INTEGER NOT NULL, built TEXT NOT NULL, upto INTEGER NOT NULL,"
    " upto_digest BLOB) STRICT",
    "CREATE TABLE removed (id INTEGER PRIMARY KEY) STRICT",
    f"CREATE VIRTUAL TABLE words USING fts5(content, content='', tokenize='{TOKENIZER}')",
)


class SearchIndex:
    """The open index of one database. Close it, or use it in a `with`.

    `connection` has the table `words` (FTS5; its rowid is that of `live.history`) and, attached
    for reading, the database as `live`. Only the thread that opened it may use it. All methods
    raise StorageUnavailable if a file cannot be used now.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.connection = connection
        self._path = path
        self._file = path.stat().st_ino if path else 0
        self._forgot_in: str | None = None

    @property
    def in_memory(self) -> bool:
        return self._path is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn SQLite's errors in the block into StorageUnavailable."""
        with _translating_errors("search"):
            yield

    @property
    def behind(self) -> int:
        """About how many rows of the history are not in the index yet."""
        with self.reading():
            row = self.connection.execute(
                "SELECT (SELECT ifnull(max(id), 0) FROM live.history) - upto FROM main.state"
            ).fetchone()
        return int(row[0])

    def feed(self, limit: int) -> int:
        """Index up to `limit` more rows in one transaction; return how many there were.

        SQLite does all the work, without the interpreter lock: other threads keep running.
        """
        with _translating_errors("feed"), _transaction(self.connection):
            (upto,) = self.connection.execute("SELECT upto FROM main.state").fetchone()
            last, count = self.connection.execute(
                "SELECT max(id), count(*) FROM"
                " (SELECT id FROM live.history WHERE id > ? ORDER BY id LIMIT ?)",
                (upto, limit),
            ).fetchone()
            if not count:
                return 0
            self.connection.execute(
                "INSERT INTO main.words (rowid, content) SELECT id, content FROM live.history"
                " WHERE id > ? AND id <= ? AND erased_ms IS NULL AND content <> ''"
                " AND id NOT IN (SELECT id FROM main.removed)",
                (upto, last),
            )
            self.connection.execute(
                "UPDATE main.state SET upto = ?, upto_digest ="
                " (SELECT digest FROM live.history WHERE id = ?)",
                (last, last),
            )
        return int(count)

    def forget(self, rows: Iterable[tuple[int, str]]) -> None:
        """Remove rows (id, content) durably. The content must be as it was indexed.

        Words may be left in the file's bytes until `scrub`.
        """
        with _translating_errors("clean"):
            # A power cut may undo `feed`, but never this.
            self.connection.execute("PRAGMA main.synchronous=FULL")
        with _translating_errors("clean"), _transaction(self.connection):
            upto, built = self.connection.execute("SELECT upto, built FROM main.state").fetchone()
            self._forgot_in = self._forgot_in or built
            for row_id, content in rows:
                added = self.connection.execute(
                    "INSERT INTO main.removed (id) VALUES (?) ON CONFLICT DO NOTHING", (row_id,)
                )
                if added.rowcount and row_id <= upto and content:
                    self.connection.execute(
                        "INSERT INTO main.words (words, rowid, content) VALUES ('delete', ?, ?)",
                        (row_id, content),
                    )

    def scrub(self) -> None:
        """Rewrite the index, so that its bytes hold nothing of the forgotten rows.

        Takes about as long as reading and writing the index once. After many small steps of
        erasing, call it once at the end.
        """
        with _translating_errors("clean"):
            if self._path is not None and not self._is_in_place(self._path):
                # Another process has built it again since, perhaps with text that is erased by now.
                _unlink(self._path)
                return
            (built,) = self.connection.execute("SELECT built FROM main.state").fetchone()
            if self._forgot_in not in (None, built):  # the same, in this file
                with _transaction(self.connection):
                    _build(self.connection)
            else:
                self.connection.execute("INSERT INTO main.words (words) VALUES ('optimize')")
            # Pages keep remains of deleted data; new pages have none.
            self.connection.execute("VACUUM main")
            (busy, *_) = self.connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageUnavailable(
                "Cannot clean the search index: another process is reading it."
                " Stop that process, or wait until it has finished."
            )

    def _is_in_place(self, path: Path) -> bool:
        return path.exists() and path.stat().st_ino == self._file


def path_of(database: Path) -> Path:
    return sidecar_path(database, "-search")


def open_index(database: Path) -> SearchIndex:
    """Open the index of the database at `database`; build it if it is missing or unusable.

    Raises StorageUnavailable if its file cannot be written or the database cannot be read.
    """
    path = path_of(database)
    with _translating_errors("open"):
        try:
            return _open(database, path)
        except sqlite3.DatabaseError as exc:
            # ERROR: FTS5 reports "vtable constructor failed" if a part of a table is missing.
            if _code(exc) not in {*DAMAGED, sqlite3.SQLITE_ERROR}:
                raise
        remove(database)
        return _open(database, path)


def open_to_search(database: Path) -> SearchIndex:
    """Do `open_index`; return an empty index in memory if the folder cannot be written."""
    try:
        return open_index(database)
    except StorageUnavailable as exc:
        cause = exc.__cause__
        if _code(cause) not in NOT_WRITABLE and not isinstance(cause, OSError):
            raise
    with _translating_errors("open"):
        return _open(database, None)


def _open(database: Path, path: Path | None) -> SearchIndex:
    if path is not None:
        _create(path, database)
    name = f"{path.absolute().as_uri()}?mode=rw" if path else ":memory:"
    connection = sqlite3.connect(name, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        # Data that a merge of the index frees must be gone at once: it may have to be erased.
        connection.execute("PRAGMA main.secure_delete=ON")
        connection.execute("PRAGMA main.journal_mode=WAL")
        connection.execute("PRAGMA main.synchronous=NORMAL")
        connection.execute("PRAGMA temp_store=MEMORY")
        _attach(connection, database)
        with _transaction(connection):  # always: it fails if the file cannot be written
            if not _belongs(connection):
                _build(connection)
    except BaseException:
        connection.close()
        raise
    return SearchIndex(connection, path)


def _create(path: Path, database: Path) -> None:
    """Create the file, readable for its owner alone: the database's owner, also if root searches.

    Do not touch an existing file: closing a file that SQLite has open would free its locks.
    """
    if path.exists():
        return
    owner = database.stat()
    with contextlib.suppress(FileExistsError):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if hasattr(os, "fchown"):
            with contextlib.suppress(OSError):
                os.fchown(file, owner.st_uid, owner.st_gid)
        os.close(file)


def _attach(connection: sqlite3.Connection, database: Path) -> None:
    uri = database.absolute().as_uri()
    try:
        connection.execute("ATTACH ? AS live", (f"{uri}?mode=ro",))
        connection.execute("SELECT 1 FROM live.history LIMIT 1").fetchone()
    except sqlite3.OperationalError as exc:
        # Not if the file is being written: `immutable` would read nonsense from it.
        if _code(exc) not in NOT_WRITABLE:
            raise
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("DETACH live")
        # The folder cannot be written: see `storage/queries/reader.py`.
        connection.execute("ATTACH ? AS live", (f"{uri}?mode=ro&immutable=1",))
        connection.execute("SELECT 1 FROM live.history LIMIT 1").fetchone()


def _belongs(connection: sqlite3.Connection) -> bool:
    """Return whether the index is of this version and of this database."""
    known = {
        name for (name,) in connection.execute("SELECT name FROM main.sqlite_schema").fetchall()
    }
    if not {"state", "removed", "words"} <= known:
        return False
    try:
        state = connection.execute("SELECT version, upto, upto_digest FROM main.state").fetchone()
        connection.execute("SELECT rowid FROM main.words LIMIT 1").fetchone()
    except sqlite3.OperationalError as exc:
        if _code(exc) != sqlite3.SQLITE_ERROR:
            raise
        return False
    if state is None or state[0] != VERSION:
        return False
    row = connection.execute("SELECT digest FROM live.history WHERE id = ?", (state[1],)).fetchone()
    return bool(state[1] == 0 or (row is not None and row[0] == state[2]))


def _build(connection: sqlite3.Connection) -> None:
    """Create an empty index; within a transaction, so that no reader sees half of it."""
    for table in ("words", "state", "removed"):
        connection.execute(f"DROP TABLE IF EXISTS main.{table}")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO main.state VALUES (?, ?, 0, NULL)", (VERSION, os.urandom(8).hex())
    )


def remove(database: Path) -> None:
    """Delete the index; processes that have it open keep using the deleted file."""
    _unlink(path_of(database))


def _unlink(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _translating_errors(action: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        error = IndexDamaged if _code(exc) in DAMAGED else StorageUnavailable
        raise error(f"Cannot {action} the search index: {exc}") from exc


def _code(exc: BaseException | None) -> int:
    """SQLite's primary result code."""
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF
