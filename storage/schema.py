"""The names of the migrations of this version, known without importing the migrations.

Those need sqlite-utils, whose import may take as long as the rest of a start.
"""

from __future__ import annotations

import sqlite3

STEPS = (
    "m001_first_schema",
    "m002_chain_of_digests",
    "m003_replies_and_erasures",
    "m004_personal_facts",
    "m005_usage",
    "m006_usage_from",
    "m007_model_switches",
)


def is_current(connection: sqlite3.Connection) -> bool:
    """Return whether exactly these migrations ran."""
    return set(_taken(connection)) == set(STEPS)


def newer_steps(connection: sqlite3.Connection) -> list[str]:
    """Return the migrations that only a newer version knows."""
    return [name for name in _taken(connection) if name not in STEPS]


def written_by_newer(path: str, steps: list[str]) -> str:
    """Return what to say of a database with steps of a newer version."""
    return (
        f"{path} was written by a newer rosey-llm (it has {', '.join(steps)}); "
        "install that version, or point [storage] path at another file."
    )


def _taken(connection: sqlite3.Connection) -> list[str]:
    try:
        taken = connection.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = 'rosey-llm'"
        ).fetchall()
    except sqlite3.OperationalError:  # no such table: no migration ran
        return []
    return [name for (name,) in taken]
