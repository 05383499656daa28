"""Pages of channels, the most recently active first; fast also for a million channels."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from storage.queries import entries
from storage.queries.channels import PERSONA

MANY = 50_000
SCANNED_ROWS = 300_000
NAMES = 2_000
READ_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class RecentChannel:
    """A channel, with totals of its newest READ_ROWS rows.

    newest_id: the id of its newest row.
    rows: how many rows it has in all.
    persona: as in `history channels`; None if it never switched, and none has answered yet.
    partly: whether it has more rows than were read for messages, speakers and tokens.
    """

    id: int
    name: str
    newest_id: int
    newest_ms: int
    rows: int
    messages: int
    speakers: int
    tokens: int
    persona: str | None
    partly: bool


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """A page. `next_before` is the `before` of the next page; None if this is the last."""

    channels: list[RecentChannel]
    next_before: int | None


def recent_channels(
    connection: sqlite3.Connection, *, before: int | None, limit: int, name: str = ""
) -> ChannelPage:
    """Return the channels whose newest row is older than row `before`, the most recent first.

    name: only channels whose name contains it, in any case; at most NAMES of those are read.
    """
    bound = before if before is not None else entries.newest_id(connection) + 1
    if name:
        found = _find_by_name(connection, name, bound, limit + 1)
    elif _count(connection) <= MANY:
        found = _find_by_sorting(connection, bound, limit + 1)
    else:
        found, scanned_to = _find_by_scanning(connection, bound, limit + 1)
        if len(found) <= limit:
            return ChannelPage([_summarize(connection, *each) for each in found], scanned_to)
    channels = [_summarize(connection, *each) for each in found[:limit]]
    return ChannelPage(channels, channels[-1].newest_id if len(found) > limit else None)


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM channel").fetchone()[0])


NEWEST = "(SELECT id FROM history WHERE channel_id = c.id ORDER BY id DESC LIMIT 1)"


def _find_by_sorting(
    connection: sqlite3.Connection, bound: int, limit: int
) -> list[tuple[int, int]]:
    return [
        (channel_id, newest_id)
        for channel_id, newest_id in connection.execute(
            f"SELECT id, newest FROM (SELECT c.id, {NEWEST} AS newest FROM channel c)"  # noqa: S608
            " WHERE newest < ? ORDER BY newest DESC LIMIT ?",
            (bound, limit),
        )
    ]


def _find_by_name(
    connection: sqlite3.Connection, name: str, bound: int, limit: int
) -> list[tuple[int, int]]:
    return [
        (channel_id, newest_id)
        for channel_id, newest_id in connection.execute(
            f"SELECT id, newest FROM (SELECT c.id, {NEWEST} AS newest FROM"  # noqa: S608
            " (SELECT id FROM channel WHERE instr(lower(name), lower(?)) LIMIT ?) c)"
            " WHERE newest < ? ORDER BY newest DESC LIMIT ?",
            (name, NAMES, bound, limit),
        )
    ]


def _find_by_scanning(
    connection: sqlite3.Connection, bound: int, limit: int
) -> tuple[list[tuple[int, int]], int | None]:
    """Read back from `bound`; also return the last id that was read, None for the first row."""
    found: list[tuple[int, int]] = []
    seen: set[int] = set()
    last_id = None
    rows = connection.execute(
        "SELECT id, channel_id FROM history WHERE id < ? ORDER BY id DESC LIMIT ?",
        (bound, SCANNED_ROWS),
    )
    for row_id, channel_id in rows:
        last_id = row_id
        if channel_id in seen:
            continue
        seen.add(channel_id)
        if not _has_newer(connection, channel_id, bound):
            found.append((channel_id, row_id))
            if len(found) == limit:
                break
    return found, last_id if last_id is not None and last_id > 1 else None


def _has_newer(connection: sqlite3.Connection, channel_id: int, bound: int) -> bool:
    found = connection.execute(
        "SELECT 1 FROM history WHERE channel_id = ? AND id >= ? LIMIT 1", (channel_id, bound)
    ).fetchone()
    return found is not None


def _summarize(connection: sqlite3.Connection, channel_id: int, newest_id: int) -> RecentChannel:
    (name,) = connection.execute("SELECT name FROM channel WHERE id = ?", (channel_id,)).fetchone()
    newest_ms, rows = connection.execute(
        "SELECT ts_ms, seq FROM history WHERE id = ?", (newest_id,)
    ).fetchone()
    messages, speakers, tokens = connection.execute(
        "SELECT coalesce(sum(kind IN ('message', 'prompt')), 0), count(DISTINCT username),"
        " coalesce(sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)), 0)"
        " FROM (SELECT kind, username, prompt_tokens, completion_tokens FROM history"
        " WHERE channel_id = ? ORDER BY id DESC LIMIT ?)",
        (channel_id, READ_ROWS),
    ).fetchone()
    return RecentChannel(
        channel_id,
        name,
        newest_id,
        newest_ms,
        rows,
        messages,
        speakers,
        tokens,
        persona_of(connection, channel_id),
        rows > READ_ROWS,
    )


def persona_of(connection: sqlite3.Connection, channel_id: int) -> str | None:
    """Return the persona that the channel was switched to last, or else that answered last."""
    query = f"SELECT {PERSONA.format(channel=':channel')}"
    (persona,) = connection.execute(query, {"channel": channel_id}).fetchone()
    return str(persona) if persona is not None else None


def switched_to(connection: sqlite3.Connection, channel_id: int) -> str | None:
    """Return the persona that the channel was switched to last; None if it never was."""
    row = connection.execute(
        "SELECT persona FROM history WHERE channel_id = ? AND kind = 'persona'"
        " ORDER BY id DESC LIMIT 1",
        (channel_id,),
    ).fetchone()
    return None if row is None else row[0]


def switched_model(connection: sqlite3.Connection, channel_id: int) -> tuple[str, str] | None:
    """Return provider and model that the channel was switched to last; None for the configured."""
    row = connection.execute(
        "SELECT provider, model FROM history WHERE channel_id = ? AND kind = 'model'"
        " ORDER BY id DESC LIMIT 1",
        (channel_id,),
    ).fetchone()
    return None if row is None or None in row else (row[0], row[1])
