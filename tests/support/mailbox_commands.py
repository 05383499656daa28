"""Commands of channels, as the engine puts, takes and settles them."""

from __future__ import annotations

import sqlite3

from storage import hash_chain, mailboxes
from storage.history import Row
from storage.mailboxes import Accepted, AlreadyWaiting
from storage.outbox import Settled
from tests.support import command_writes


def put(
    connection: sqlite3.Connection,
    request_id: str = "r1",
    channel: str = "#lobby",
    *,
    replies: tuple[str, ...] = (),
    now_ms: int = 1000,
) -> Accepted | AlreadyWaiting | Settled:
    body = f"{channel} {request_id}".encode()
    return command_writes.put(connection, channel, request_id, "alice", body, replies, now_ms)


def accepted(
    connection: sqlite3.Connection,
    request_id: str = "r1",
    channel: str = "#lobby",
    *,
    replies: tuple[str, ...] = (),
) -> int:
    acceptance = put(connection, request_id, channel, replies=replies)
    assert isinstance(acceptance, Accepted)
    return acceptance.id


def settle(
    connection: sqlite3.Connection,
    row_id: int,
    request_id: str = "r1",
    channel: str = "#lobby",
    *,
    text: str = "Hi.",
    now_ms: int = 2000,
) -> Settled | None:
    rows = (
        Row("message", request_id, "alice", "Hello"),
        Row("answer", request_id, "alice", text, provider="fake"),
    )
    return command_writes.settle(
        connection, row_id, channel, request_id, rows, "response", text.encode(), now_ms
    )


def settle_at_once(
    connection: sqlite3.Connection,
    request_id: str = "r1",
    channel: str = "#lobby",
    *,
    text: str = "Stopped.",
    replies: tuple[str, ...] = (),
    now_ms: int = 2000,
) -> Settled:
    rows = (Row("stop", request_id, "alice"),)
    return command_writes.settle_at_once(
        connection, channel, request_id, rows, "response", text.encode(), replies, now_ms
    )


def answered(
    connection: sqlite3.Connection,
    request_id: str = "r1",
    channel: str = "#lobby",
    *,
    text: str = "Hi.",
    now_ms: int = 2000,
) -> Settled:
    """Do a whole turn, from accepted to settled."""
    row_id = accepted(connection, request_id, channel)
    mailboxes.take(connection, row_id)
    settled = settle(connection, row_id, request_id, channel, text=text, now_ms=now_ms)
    assert settled is not None
    return settled


def kept(connection: sqlite3.Connection, channel: str = "#lobby") -> list[tuple[int, str, str]]:
    """Return (seq, kind, content) of a channel's history, oldest first."""
    found = connection.execute(
        "SELECT seq, kind, content FROM history h JOIN channel c ON c.id = h.channel_id"
        " WHERE c.name = ? ORDER BY h.id",
        (channel,),
    )
    return found.fetchall()


def chain_holds(connection: sqlite3.Connection) -> bool:
    """Return whether each row is numbered and chained to the one before it in its channel."""
    facts = ", ".join(hash_chain.FACTS)
    rows = connection.execute(
        "SELECT channel_id, c.name, salt, username, content, private, digest,"  # noqa: S608
        f" {facts} FROM history h JOIN channel c ON c.id = h.channel_id ORDER BY h.id"
    )
    heads: dict[int, tuple[int, bytes]] = {}
    for channel_id, name, salt, username, content, private, kept_digest, *values in rows:
        seq, link = heads.get(channel_id, (0, hash_chain.of_channel(name)))
        private = private or hash_chain.of_private(salt, username, content)
        if values[0] != seq + 1 or kept_digest != hash_chain.of_row(link, private, tuple(values)):
            return False
        heads[channel_id] = seq + 1, kept_digest
    return True
