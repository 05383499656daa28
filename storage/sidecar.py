"""Files that stand beside a database: its journal, its lock, its search index."""

from __future__ import annotations

from pathlib import Path


def sidecar_path(database: Path, suffix: str) -> Path:
    """Where SQLite puts its own: a database that is reached by a link has one of each, too."""
    database = database.resolve()
    return database.with_name(database.name + suffix)
