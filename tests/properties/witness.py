"""A view of the database through a connection that is not the engine's."""

from __future__ import annotations

import functools
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from engine.actors.conversation import Conversation, Exchange
from engine.config.allowed_models import ChosenModel
from storage import snapshots
from storage.history import PastRow
from storage.migrations import migrate

POISON = """CREATE TRIGGER poison BEFORE INSERT ON history
 WHEN new.kind = 'answer' AND new.content LIKE 're: poison%'
 BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END"""
Key = tuple[str, str]
State = tuple[str | None, ChosenModel | None, list[Exchange]]


@dataclass(frozen=True, slots=True)
class DiskContents:
    """Waiting commands with their attempts, oldest first, and outcomes by request.

    usage: requests that asked a model, and calls whose cost was estimated, by channel.
    """

    waiting: dict[Key, int]
    outcomes: dict[Key, bytes]
    usage: dict[str, tuple[int, int]]


@functools.cache
def fresh_file() -> bytes:
    """Return a database file with the schema, in which answers to poison cannot be stored."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, ":memory:")
        connection.execute(POISON)
        return connection.serialize()
    finally:
        connection.close()


class DatabaseReader:
    """A second connection to the engine's database."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(fresh_file())
        self._connection = sqlite3.connect(path, isolation_level=None)

    def close(self) -> None:
        self._connection.close()

    def read(self) -> DiskContents:
        waiting = self._connection.execute(
            "SELECT name, request_id, attempts FROM mailbox m JOIN channel c ON c.id = m.channel_id"
            " ORDER BY m.id"
        )
        outcomes = self._connection.execute(
            "SELECT name, request_id, body FROM outbox o JOIN channel c ON c.id = o.channel_id"
        )
        return DiskContents(
            {(c, r): n for c, r, n in waiting},
            {(c, r): body for c, r, body in outcomes},
            {
                scope.removeprefix("c:"): (requests, estimated)
                for scope, requests, estimated in self._connection.execute(
                    "SELECT scope, sum(requests), sum(estimated) FROM usage"
                    " WHERE scope GLOB 'c:*' GROUP BY scope"
                )
            },
        )

    def tokens_used(self, scope: str) -> int:
        """Return the sum of a scope over all days."""
        found = self._connection.execute(
            "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage WHERE scope = ?",
            (scope,),
        ).fetchone()
        return int(found[0])

    def outcome(self, key: Key) -> bytes | None:
        found = self._connection.execute(
            "SELECT body FROM outbox o JOIN channel c ON c.id = o.channel_id"
            " WHERE name = ? AND request_id = ?",
            key,
        ).fetchone()
        return found[0] if found else None

    def history(self, key: Key) -> list[tuple[str, str]]:
        """Return (kind, content) of a request's history rows."""
        return self._connection.execute(
            "SELECT kind, content FROM history h JOIN channel c ON c.id = h.channel_id"
            " WHERE name = ? AND request_id = ? ORDER BY h.id",
            key,
        ).fetchall()

    def unpublished(self) -> int:
        found = self._connection.execute(
            "SELECT count(*) FROM outbox WHERE published_ms IS NULL"
        ).fetchone()
        return int(found[0])

    def wrong_snapshots(self, window: int) -> list[str]:
        """Return the channels whose snapshot differs from history up to the row that it names."""
        rows = self._connection.execute(
            "SELECT c.id, name, upto, body FROM snapshot s JOIN channel c ON c.id = s.channel_id"
        ).fetchall()
        return [
            f"{name}: {body.decode()} up to {upto}"
            for channel_id, name, upto, body in rows
            if _state(Conversation.decode(body, window)) != self._replayed(channel_id, upto, window)
        ]

    def state_on_waking(self, channel: str, window: int, *, trust_snapshot: bool) -> State:
        """Return what an actor would find if it loaded the channel now."""
        loaded = snapshots.load(self._connection, channel, window, trust_snapshot=trust_snapshot)
        conversation = Conversation(window)
        if loaded.body is not None:
            conversation = Conversation.decode(loaded.body, window)
        conversation.replay(loaded.rows)
        return _state(conversation)

    def break_channel(self, channel: str) -> None:
        """Make the storing of this channel's turns fail from now on."""
        self._connection.execute(
            f"CREATE TRIGGER IF NOT EXISTS defect_{channel} BEFORE INSERT ON history"  # noqa: S608
            f" WHEN new.channel_id = (SELECT id FROM channel WHERE name = '{channel}')"
            " BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END"
        )

    def mend_channel(self, channel: str) -> None:
        self._connection.execute(f"DROP TRIGGER IF EXISTS defect_{channel}")

    def _replayed(self, channel_id: int, upto: int, window: int) -> State:
        conversation = Conversation(window)
        rows = self._connection.execute(
            "SELECT id, kind, username, content, persona, provider, model FROM history"
            " WHERE channel_id = ? AND id <= ? ORDER BY id",
            (channel_id, upto),
        )
        conversation.replay(PastRow(*row) for row in rows)
        return _state(conversation)


def _state(conversation: Conversation) -> State:
    return conversation.persona, conversation.model, list(conversation.exchanges)
