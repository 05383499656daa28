"""Which text a persona had: history names it by its digest, so that a prompt can be shown again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable


def version(prompt: str) -> str:
    """A persona's text as history names it: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def keep(connection: sqlite3.Connection, personas: Iterable[tuple[str, str]], now_ms: int) -> None:
    """Remember the texts of (name, prompt); those that are known already stay as they are."""
    connection.executemany(
        "INSERT INTO persona_version (version, name, prompt, first_used_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(version(prompt), name, prompt, now_ms) for name, prompt in personas],
    )


def prompt(connection: sqlite3.Connection, version: str) -> str | None:
    """The text of a version; None where it is not known."""
    row = connection.execute(
        "SELECT prompt FROM persona_version WHERE version = ? LIMIT 1", (version,)
    ).fetchone()
    return row[0] if row else None
