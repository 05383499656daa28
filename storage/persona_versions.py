"""The texts that personas had, by version, so that an old prompt can be shown again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable


def version(prompt: str) -> str:
    """Return the version of a persona's text: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def keep(connection: sqlite3.Connection, personas: Iterable[tuple[str, str]], now_ms: int) -> None:
    """Store the texts of (name, prompt) pairs that are not stored yet."""
    connection.executemany(
        "INSERT INTO persona_version (version, name, prompt, first_used_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(version(prompt), name, prompt, now_ms) for name, prompt in personas],
    )


def prompt(connection: sqlite3.Connection, version: str) -> str | None:
    """Return the text of a version; None if it is unknown."""
    row = connection.execute(
        "SELECT prompt FROM persona_version WHERE version = ? LIMIT 1", (version,)
    ).fetchone()
    return row[0] if row else None
