"""Copies the database while it is in use, in its state at one moment."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.errors import StorageUnavailable
from storage.queries.reader import open_reader

MARGIN = 1.1


@contextmanager
def copied(database: Path, target: Path, *, replace: bool) -> Iterator[Path]:
    """Copy to a file beside `target`, yield its path, and rename it to `target` after the block.

    If the block raises, or if `target` exists and `replace` is false, the copy is deleted and
    `target` stays as it was. The copy has no remains of deleted data, and only its owner may read
    it. Live commits do not wait.

    Raises CannotOpen for the database, StorageUnavailable for the copy, OSError for its folder or
    if `target` must not be replaced.
    """
    with closing(open_reader(database)) as connection:
        _check(target, database)
        _check_room(connection, database, target)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            try:
                connection.execute("PRAGMA query_only=OFF")  # it forbids VACUUM INTO, too
                connection.execute("VACUUM INTO ?", (str(partial),))
            except sqlite3.Error as exc:
                raise StorageUnavailable(f"Cannot copy {database} to {target}: {exc}.") from exc
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
    """Raise FileExistsError if the copy must not replace `target`."""
    wal = target.with_name(f"{target.name}-wal")
    if target.exists() and target.samefile(database):
        raise FileExistsError(errno.EEXIST, "it is the database itself", str(target))
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "it is not a regular file", str(target))
    if wal.exists() and wal.stat().st_size:  # SQLite would apply it to the copy
        why = f"{wal.name} beside it belongs to a database that is in use or was killed"
        raise FileExistsError(errno.EEXIST, why, str(target))


def _check_room(connection: sqlite3.Connection, database: Path, target: Path) -> None:
    """Raise StorageUnavailable without room: else the copy would fill the disk for all others."""
    pages, free_pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    needed = round((pages - free_pages) * page_bytes * MARGIN)
    disk = shutil.disk_usage(target.parent)
    if disk.total and disk.free < needed:  # some network disks do not say
        raise StorageUnavailable(
            f"Cannot copy {database} to {target}: there is no room. {needed / 2**20:.1f} MiB are"
            f" needed, {disk.free / 2**20:.1f} are free. Make room, or choose another disk."
        )


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
