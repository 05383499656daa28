"""The folder with the copies that the service makes of its database: their names, age and number.

The folder is `<database>.backups`, for its owner alone. A copy is named after the UTC time at which
it was begun, `<database>-20261201T093000Z`, so that names sort by age.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.sidecar import sidecar_path

FORM = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy, and when it was begun, in wall-clock milliseconds."""

    file: Path
    made_ms: int


def folder_of(database: Path) -> Path:
    return sidecar_path(database, ".backups")


def new_name(database: Path, now_ms: int) -> Path:
    """Return the file for a copy that is begun now."""
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime(FORM)
    return folder_of(database) / f"{database.resolve().name}-{stamp}"


def backups(database: Path) -> list[Backup]:
    """Return the complete copies, oldest first. Raises OSError if the folder cannot be read."""
    folder = folder_of(database)
    if not folder.exists():
        return []
    form = re.compile(rf"{re.escape(database.resolve().name)}-([0-9]{{8}}T[0-9]{{6}}Z)")
    found = []
    for file in folder.iterdir():
        match = form.fullmatch(file.name)
        if match and (made_ms := _moment_ms(match[1])) is not None:
            found.append(Backup(file, made_ms))
    return sorted(found, key=lambda each: each.made_ms)


def _moment_ms(stamp: str) -> int | None:
    """Return the time of a name; None if there is no such time, as people rename files."""
    try:
        return round(datetime.strptime(stamp, FORM).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


def clear(database: Path) -> None:
    """Delete what crashes left of copies. Raises OSError."""
    for file in folder_of(database).glob(".*.part*"):
        file.unlink(missing_ok=True)


def prune(database: Path, keep: int, newest: Path) -> None:
    """Delete all copies but `newest` and the `keep` - 1 before it. Raises OSError."""
    others = [each.file for each in backups(database) if each.file != newest]
    for file in others[: max(0, len(others) - (keep - 1))]:
        file.unlink(missing_ok=True)
