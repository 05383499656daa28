"""Sums of the table `usage`, read as an operator would, with a connection of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from storage import usage


def sums_of(path: Path, scope: str) -> dict[str, int]:
    """Return each sum of a scope over all days, by its column."""
    columns = ", ".join(f"coalesce(sum({name}), 0)" for name in usage.SUMS)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            f"SELECT {columns} FROM usage WHERE scope = ?",  # noqa: S608
            (scope,),
        ).fetchone()
    return dict(zip(usage.SUMS, row, strict=True))
