"""The paths of files beside a database: its WAL, its lock, its search index."""

from __future__ import annotations

from pathlib import Path


def sidecar_path(database: Path, suffix: str) -> Path:
    """Return the path of a file beside the database; links are resolved, as SQLite does."""
    database = database.resolve()
    return database.with_name(database.name + suffix)
