"""The names of the migrations of this version, known without importing the migrations.

Those need sqlite-utils, whose import may take as long as the rest of a start.
"""

from __future__ import annotations

import sqlite3

STEPS = ("m001_first_schema", "m002_chain_of_digests", "m003_replies_and_erasures")


def is_current(connection: sqlite3.Connection) -> bool:
    """Return whether exactly these migrations ran."""
    try:
        taken = connection.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = 'rosey-llm'"
        ).fetchall()
    except sqlite3.OperationalError:  # no such table: no migration ran
        return False
    return {name for (name,) in taken} == set(STEPS)
