"""Which steps the schema of this version has; known without a look at the steps themselves.

They need sqlite-utils, and to import that may take as long as all the rest of a start.
"""

from __future__ import annotations

import sqlite3

STEPS = ("m001_first_schema", "m002_chain_of_digests")


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether exactly these steps were taken."""
    try:
        taken = connection.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = 'rosey-llm'"
        ).fetchall()
    except sqlite3.OperationalError:  # there is no such table: nothing was done yet
        return False
    return {name for (name,) in taken} == set(STEPS)
