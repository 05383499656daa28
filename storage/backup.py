"""A copy of the database while it is in use, as it stood at one moment."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.errors import StorageUnavailable
from storage.queries.reader import open_reader


@contextmanager
def copied(database: Path, target: Path, *, replace: bool) -> Iterator[Path]:
    """A copy beside `target`, which takes that name at the end of the block.

    Where the block raises, or where there is such a file by then and it is not to be replaced, the
    copy is removed and that file stays as it was. The copy has no remains of what was deleted, and
    only its owner may read it. Live commits do not wait. Raises CannotOpen for the database,
    StorageUnavailable for the copy, OSError for its folder or where `target` is no file to replace.
    """
    with closing(open_reader(database)) as connection:
        _check(target, database)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            try:
                connection.execute("PRAGMA query_only=OFF")  # it would forbid the copy, too
                connection.execute("VACUUM INTO ?", (str(partial),))
            except sqlite3.Error as exc:
                raise StorageUnavailable(f"The copy cannot be made: {exc}") from exc
            _sync(partial)
            yield partial
            if not replace and target.exists():
                raise FileExistsError(errno.EEXIST, "it exists", str(target))
            partial.replace(target)
            _sync(target.parent)
        finally:
            for suffix in ("", "-wal", "-shm"):
                partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def _check(target: Path, database: Path) -> None:
    """Raises FileExistsError where the copy must not take the place of what is there."""
    wal = target.with_name(f"{target.name}-wal")
    if target.exists() and target.samefile(database):
        raise FileExistsError(errno.EEXIST, "it is the database itself", str(target))
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "it is no plain file", str(target))
    if wal.exists() and wal.stat().st_size:  # SQLite would write it into the copy
        why = f"{wal.name} beside it belongs to a database in use, or one that was killed"
        raise FileExistsError(errno.EEXIST, why, str(target))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
