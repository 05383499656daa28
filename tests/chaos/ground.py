"""The folder of a chaos run: configuration, log, and a database that records each commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from storage.migrations import migrate

# The triggers write in the engine's own transactions: everything it accepts or settles is recorded,
# also if it is deleted later. `charges.py` fills the last table; `chaos_begun` has how many rows it
# had when an attempt began.
_RECORD = """
CREATE TABLE chaos_accepted (n INTEGER PRIMARY KEY AUTOINCREMENT, channel_id INTEGER,
    request_id TEXT, command TEXT, at_ms INTEGER);
CREATE TRIGGER chaos_accept AFTER INSERT ON mailbox BEGIN
    INSERT INTO chaos_accepted (channel_id, request_id, command, at_ms)
    VALUES (new.channel_id, new.request_id, json_extract(CAST(new.body AS TEXT), '$[0]'),
        new.accepted_ms);
END;
CREATE TABLE chaos_settled (n INTEGER PRIMARY KEY AUTOINCREMENT, channel_id INTEGER,
    request_id TEXT, kind TEXT, body BLOB, at_ms INTEGER);
CREATE TRIGGER chaos_settle AFTER INSERT ON outbox BEGIN
    INSERT INTO chaos_settled (channel_id, request_id, kind, body, at_ms)
    VALUES (new.channel_id, new.request_id, new.kind, new.body, new.created_ms);
END;
CREATE TABLE chaos_begun (n INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT, charged INTEGER,
    at_ms INTEGER);
CREATE TRIGGER chaos_begin AFTER UPDATE OF attempts ON mailbox BEGIN
    INSERT INTO chaos_begun (request_id, charged, at_ms)
    VALUES (new.request_id, (SELECT coalesce(max(n), 0) FROM chaos_charged),
        CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
CREATE TRIGGER chaos_begin_at_once AFTER INSERT ON mailbox WHEN new.attempts > 0 BEGIN
    INSERT INTO chaos_begun (request_id, charged, at_ms)
    VALUES (new.request_id, (SELECT coalesce(max(n), 0) FROM chaos_charged), new.accepted_ms);
END;
CREATE TABLE chaos_charged (n INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT, request_id TEXT,
    attempts INTEGER, charges BLOB, at_ms INTEGER);
"""


class RunFolder:
    """The files of a run. All its engines share `database`, and write their stderr to `log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "rosey-llm.toml"
        self.database = folder / "data" / "rosey-llm.db"
        self.log = folder / "engine.log"

    def prepare(self, config: Mapping[str, Any], *, on_record: bool = True) -> None:
        """Write the configuration, and create the database with triggers that record commits.

        on_record: False leaves the database to the engine.
        """
        self.config.write_text(_toml(config))
        self.config.chmod(0o600)
        if on_record:
            self.database.parent.mkdir(mode=0o700)
            with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                migrate(connection, str(self.database))
                connection.executescript(_RECORD)

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Query the database with a new connection.

        It is closed again: while a connection is open, a new engine has no WAL to recover, and WAL
        recovery must be part of a run.
        """
        uri = f"file:{self.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, parameters).fetchall()

    def committed(self, channel: str, request_id: str) -> bytes | None:
        """Return the outcome of this request that is in the database now."""
        found = self.rows(
            "SELECT o.body FROM outbox o JOIN channel c ON c.id = o.channel_id"
            " WHERE c.name = ? AND o.request_id = ?",
            channel,
            request_id,
        )
        return found[0][0] if found else None


def _toml(config: Mapping[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists are also TOML's.
    lines = [f"{key} = {_json(value)}" for key, value in config.items() if not _is_table(value)]
    for name, table in config.items():
        if _is_table(table):
            lines += [f"[{name}]", *(f"{key} = {_json(value)}" for key, value in table.items())]
    return "\n".join(lines)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
