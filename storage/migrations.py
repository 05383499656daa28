"""The migrations of the schema; each is committed together with the record that it ran."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from pathlib import Path

import orjson
import sqlite_utils

from storage import erasure_events, hash_chain, migration_backup, schema
from storage.errors import CannotOpen

log = logging.getLogger("rosey_llm.storage")
migrations = sqlite_utils.Migrations("rosey-llm")
REPORT_ROWS = 50_000  # some seconds of work


@migrations()
def m001_first_schema(db: sqlite_utils.Database) -> None:
    """Create channels, their history and snapshots, the durable mailbox and the outbox.

    history is a rowid table with one index on an integer channel id: the index ends in the rowid,
    so a channel's newest rows need no sort, and a commit stays cheap at millions of rows.
    """
    for statement in (
        """CREATE TABLE channel (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created_ms INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE history (
            id INTEGER PRIMARY KEY,
            channel_id INTEGER NOT NULL REFERENCES channel(id),
            seq INTEGER NOT NULL,
            ts_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            request_id TEXT NOT NULL,
            username TEXT,
            content TEXT NOT NULL,
            persona TEXT,
            provider TEXT,
            model TEXT,
            finish_reason TEXT,
            prompt_tokens INTEGER,
            completion_tokens INTEGER,
            latency_ms INTEGER,
            code TEXT
        ) STRICT""",
        "CREATE INDEX history_channel ON history(channel_id)",
        """CREATE TABLE snapshot (
            channel_id INTEGER PRIMARY KEY REFERENCES channel(id),
            upto INTEGER NOT NULL,
            ts_ms INTEGER NOT NULL,
            body BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE mailbox (
            id INTEGER PRIMARY KEY,
            channel_id INTEGER NOT NULL REFERENCES channel(id),
            request_id TEXT NOT NULL,
            username TEXT NOT NULL,
            body BLOB NOT NULL,
            replies TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            accepted_ms INTEGER NOT NULL
        ) STRICT""",
        "CREATE UNIQUE INDEX mailbox_request ON mailbox(channel_id, request_id)",
        """CREATE TABLE outbox (
            id INTEGER PRIMARY KEY,
            channel_id INTEGER NOT NULL REFERENCES channel(id),
            request_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            replies TEXT NOT NULL,
            body BLOB NOT NULL,
            created_ms INTEGER NOT NULL,
            published_ms INTEGER
        ) STRICT""",
        "CREATE UNIQUE INDEX outbox_request ON outbox(channel_id, request_id)",
        """CREATE TABLE suspension (
            channel_id INTEGER PRIMARY KEY REFERENCES channel(id),
            until_ms INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX outbox_waiting ON outbox(id) WHERE published_ms IS NULL",
    ):
        db.execute(statement)


@migrations()
def m002_chain_of_digests(db: sqlite_utils.Database) -> None:
    """Add the hash chain to the history, and create persona versions and admin requests (orders).

    AUTOINCREMENT never reuses an id, so ids without a gap show that no row was removed.
    `erased_ms` and `published_ms` are set later than the row and are not part of its digest.
    """
    for statement in (
        """CREATE TABLE history_chained (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            channel_id INTEGER NOT NULL REFERENCES channel(id),
            seq INTEGER NOT NULL,
            ts_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            request_id TEXT NOT NULL,
            username TEXT,
            content TEXT NOT NULL,
            persona TEXT,
            provider TEXT,
            model TEXT,
            finish_reason TEXT,
            prompt_tokens INTEGER,
            completion_tokens INTEGER,
            latency_ms INTEGER,
            code TEXT,
            details TEXT,
            salt BLOB,
            digest BLOB NOT NULL,
            private BLOB,
            erased_ms INTEGER,
            published_ms INTEGER
        ) STRICT""",
        """CREATE TABLE persona_version (
            version TEXT NOT NULL,
            name TEXT NOT NULL,
            prompt TEXT NOT NULL,
            first_used_ms INTEGER NOT NULL,
            PRIMARY KEY (version, name)
        ) STRICT""",
        """CREATE TABLE orders (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            body TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            done_ms INTEGER,
            result TEXT
        ) STRICT""",
        "CREATE INDEX orders_waiting ON orders(id) WHERE done_ms IS NULL",
        "ALTER TABLE outbox ADD COLUMN history_id INTEGER",
    ):
        db.execute(statement)
    _chain(db.conn)
    db.execute("DROP TABLE history")
    db.execute("ALTER TABLE history_chained RENAME TO history")
    db.execute("CREATE INDEX history_channel ON history(channel_id)")
    db.execute(
        "CREATE INDEX history_persona ON history(channel_id)"
        " WHERE kind = 'persona'"  # to wake a channel without a snapshot
    )


def _chain(connection: sqlite3.Connection) -> None:
    """Copy `history` to `history_chained`, and add the digests that old rows lack."""
    heads = {
        channel_id: hash_chain.of_channel(name)
        for channel_id, name in connection.execute("SELECT id, name FROM channel")
    }
    facts = ", ".join(hash_chain.FACTS[:-1])
    rows = connection.execute(
        f"SELECT id, channel_id, username, content, {facts} FROM history ORDER BY id"  # noqa: S608
    )
    (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM history").fetchone()
    for number, (row_id, channel_id, username, content, *values) in enumerate(rows, 1):
        if number % REPORT_ROWS == 0:
            log.warning(
                "The schema is being changed: row %(row)d of %(rows)d.",
                {"event": "migration.progress", "row": row_id, "rows": newest},
            )
        salt = hash_chain.new_salt()
        private = hash_chain.of_private(salt, username, content)
        link = hash_chain.of_row(heads[channel_id], private, (*values, None))
        heads[channel_id] = link
        connection.execute(
            "INSERT INTO history_chained"  # noqa: S608
            f" (id, channel_id, username, content, {facts}, salt, digest)"
            f" VALUES (?, ?, ?, ?{', ?' * len(values)}, ?, ?)",
            (row_id, channel_id, username, content, *values, salt, link),
        )


@migrations()
def m003_replies_and_erasures(db: sqlite_utils.Database) -> None:
    """Give reply subjects a table, outcomes an audience, and the erasures so far an event.

    `sweep` has one row, the time of retention's last run.
    """
    for statement in (
        """CREATE TABLE reply (
            channel_id INTEGER NOT NULL REFERENCES channel(id),
            request_id TEXT NOT NULL,
            subject TEXT NOT NULL,
            form TEXT NOT NULL DEFAULT 'llm',
            correlation_id TEXT,
            PRIMARY KEY (channel_id, request_id, subject)
        ) STRICT""",
        "ALTER TABLE outbox ADD COLUMN audience TEXT NOT NULL DEFAULT 'all'",
        """CREATE TABLE sweep (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            wall_ms INTEGER NOT NULL
        ) STRICT""",
        """INSERT OR IGNORE INTO reply (channel_id, request_id, subject)
            SELECT channel_id, request_id, each.value FROM mailbox, json_each(replies) each""",
        """INSERT OR IGNORE INTO reply (channel_id, request_id, subject)
            SELECT channel_id, request_id, each.value FROM outbox, json_each(replies) each
            WHERE published_ms IS NULL""",
    ):
        db.execute(statement)
    _record_erasures(db.conn)


def _record_erasures(connection: sqlite3.Connection) -> None:
    """Append an event for the rows that were erased before there were such events."""
    erased = connection.execute("SELECT id FROM history WHERE erased_ms IS NOT NULL ORDER BY id")
    ids = [row_id for (row_id,) in erased]
    if not ids:
        return
    now_ms = time.time_ns() // 1_000_000
    name = "(engine)"
    connection.execute(
        "INSERT OR IGNORE INTO channel (name, created_ms) VALUES (?, ?)", (name, now_ms)
    )
    (channel_id,) = connection.execute("SELECT id FROM channel WHERE name = ?", (name,)).fetchone()
    newest = connection.execute(
        "SELECT seq, digest FROM history WHERE channel_id = ? ORDER BY id DESC LIMIT 1",
        (channel_id,),
    ).fetchone()
    seq, digest = newest or (0, hash_chain.of_channel(name))
    details = {"cause": "migration", "rows": len(ids), "ids": erasure_events.ranges(ids)}
    facts: tuple[hash_chain.Fact, ...] = (
        seq + 1, now_ms, "erased", "m003", *[None] * 8, orjson.dumps(details).decode(),
    )  # fmt: skip
    salt = hash_chain.new_salt()
    link = hash_chain.of_row(digest, hash_chain.of_private(salt, None, ""), facts)
    connection.execute(
        "INSERT INTO history (channel_id, username, content, salt, digest,"  # noqa: S608
        f" {', '.join(hash_chain.FACTS)}) VALUES (?, NULL, '', ?, ?{', ?' * len(facts)})",
        (channel_id, salt, link, *facts),
    )


@migrations()
def m004_personal_facts(db: sqlite_utils.Database) -> None:
    """Give rows and waiting commands a place for facts that identify a person, such as an id."""
    db.execute("ALTER TABLE history ADD COLUMN personal TEXT")
    db.execute("ALTER TABLE mailbox ADD COLUMN personal TEXT")


@migrations()
def m005_usage(db: sqlite_utils.Database) -> None:
    """Create the sums of what calls to models used (`storage/usage.py`)."""
    db.execute(
        """CREATE TABLE usage (
            scope TEXT NOT NULL,
            day INTEGER NOT NULL,
            requests INTEGER NOT NULL,
            prompt_tokens INTEGER NOT NULL,
            cached_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            micro_usd INTEGER NOT NULL,
            estimated INTEGER NOT NULL,
            unpriced INTEGER NOT NULL,
            PRIMARY KEY (scope, day)
        ) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m006_usage_from(db: sqlite_utils.Database) -> None:
    """Note the last row that may not be in the sums of `usage`, so that later rows are checked."""
    db.execute("CREATE TABLE usage_from (history_id INTEGER NOT NULL) STRICT")
    db.execute("INSERT INTO usage_from SELECT coalesce(max(id), 0) FROM history")


@migrations()
def m007_model_switches(db: sqlite_utils.Database) -> None:
    """Index the switches of models, to wake a channel without a snapshot."""
    db.execute("CREATE INDEX history_model ON history(channel_id) WHERE kind = 'model'")


def migrate(connection: sqlite3.Connection, path: str, *, backup: bool = False) -> None:
    """Bring the schema up to date. Raises CannotOpen if a newer rosey-llm wrote it.

    backup: copy a file that an older version wrote before its first change.
    """
    db = sqlite_utils.Database(connection)
    with contextlib.closing(sqlite_utils.Database(memory=True)) as nothing:
        known = {step.name for step in migrations.pending(nothing)}
    newer = [step.name for step in migrations.applied(db) if step.name not in known]
    if newer:
        raise CannotOpen(schema.written_by_newer(path, newer))
    pending = migrations.pending(db)
    if backup and pending and len(pending) < len(known):  # not a new file
        migration_backup.copy_before(connection, Path(path), pending[0].name.partition("_")[0])
    if not pending or len(pending) == len(known):
        migrations.apply(db)
        return
    (rows,) = connection.execute("SELECT count(*) FROM history").fetchone()
    names = ", ".join(step.name for step in pending)
    log.warning(
        "The schema of %(path)s is changed for this version (%(steps)s; %(rows)d rows). An"
        " interruption is harmless: the next start begins again.",
        {"event": "migration.began", "path": path, "steps": names, "rows": rows},
    )
    migrations.apply(db)
    log.warning(
        "The schema of %(path)s is now that of this version.",
        {"event": "migration.done", "path": path},
    )
