"""The copy of a database that is made before a new version changes its schema.

The copy is `<database>.before-<step>`, in the same folder, for its owner alone. Until it is whole
it has another name, so a crash leaves no half copy under this one, and the next start makes it
again. To go back: stop the service, put the copy in the database's place, and start the version
from before.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from storage.errors import CannotOpen

log = logging.getLogger("rosey_llm.storage")
MARGIN = 1.1


def copy_before(connection: sqlite3.Connection, path: Path, step: str) -> Path:
    """Copy the database of `connection`, and check the copy. Raises CannotOpen.

    step: the migration that comes next, such as "m003".
    """
    path = path.resolve()
    target = path.with_name(f"{path.name}.before-{step}")
    partial = target.with_name(f"{target.name}.part")
    _check_room(connection, path, target)
    log.warning(
        "Copying %(path)s to %(copy)s before its schema is changed.",
        {"event": "migration.copy", "path": path.name, "copy": target.name},
    )
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection.execute("VACUUM INTO ?", (str(partial),))
        _check_copy(connection, partial)
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as exc:
        partial.unlink(missing_ok=True)
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise CannotOpen(
            f"{path} must be changed for this version, and the copy {target.name} before it could"
            f" not be made: {reason}. {_advice()}"
        ) from exc
    return target


def _check_room(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    (pages,), (page_bytes,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    needed, free = round(pages * page_bytes * MARGIN), shutil.disk_usage(path.parent).free
    if free < needed:
        raise CannotOpen(
            f"{path} must be changed for this version, and there is no room for the copy"
            f" {target.name} before it: {needed / 2**20:.1f} MiB are needed,"
            f" {free / 2**20:.1f} are free."
            f" {_advice()}"
        )


def _advice() -> str:
    return (
        "Make room; or make a copy elsewhere with `rosey-llm backup FILE` and set [storage]"
        " backup_before_migration = false."
    )


def _check_copy(connection: sqlite3.Connection, copy: Path) -> None:
    """Raise sqlite3.Error if the copy is damaged or lacks rows."""
    counts = "SELECT (SELECT count(*) FROM history), (SELECT count(*) FROM mailbox)"
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as reader:
        (verdict,) = reader.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")
        if reader.execute(counts).fetchone() != connection.execute(counts).fetchone():
            raise sqlite3.DatabaseError("the copy lacks rows")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
