"""Lists channels with their totals, and finds a channel by its exact or a similar name."""

from __future__ import annotations

import difflib
import sqlite3
from dataclasses import dataclass
from typing import Literal

Order = Literal["name", "messages", "speakers", "tokens", "activity"]
CANDIDATES = 5000
# Orders that need not read all rows of a channel: the channels to list are chosen first.
CHEAP = {
    "name": "SELECT id FROM channel ORDER BY name LIMIT ?",
    # One lookup in the index for each channel, however long its history is.
    "activity": "SELECT id FROM channel c ORDER BY (SELECT max(id) FROM history"
    " WHERE channel_id = c.id) DESC NULLS LAST, id DESC LIMIT ?",
}
SORTED = {
    "name": "name",
    "activity": "last_id DESC NULLS LAST, name",
    "messages": "messages DESC, name",
    "speakers": "speakers DESC, name",
    "tokens": "ifnull(prompt_tokens, 0) + ifnull(completion_tokens, 0) DESC, name",
}
# The persona that a channel was switched to last, or else that of its newest row with one.
PERSONA = """ifnull(
    (SELECT persona FROM history WHERE channel_id = {channel} AND kind = 'persona'
     ORDER BY id DESC LIMIT 1),
    (SELECT persona FROM history WHERE channel_id = {channel} AND persona IS NOT NULL
     ORDER BY id DESC LIMIT 1)
)"""
TOTALS = """
    WITH total AS (
        SELECT channel_id,
            count(*) FILTER (WHERE kind IN ('message', 'prompt')) AS messages,
            count(DISTINCT username) FILTER (WHERE kind IN ('message', 'prompt')) AS speakers,
            sum(prompt_tokens) AS prompt_tokens,
            sum(completion_tokens) AS completion_tokens,
            max(id) AS last_id
        FROM history {only} GROUP BY channel_id
    ), first AS (
        SELECT c.id, c.name, ifnull(t.messages, 0) AS messages, ifnull(t.speakers, 0) AS speakers,
            ifnull(t.prompt_tokens, 0) AS prompt_tokens,
            ifnull(t.completion_tokens, 0) AS completion_tokens, t.last_id
        FROM channel c LEFT JOIN total t ON t.channel_id = c.id {among} ORDER BY {order} LIMIT ?
    )
    SELECT f.name, f.messages, f.speakers,
        {persona} AS persona,
        f.prompt_tokens, f.completion_tokens,
        (SELECT ts_ms FROM history WHERE id = f.last_id) AS last_ms
    FROM first f ORDER BY {order}
"""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel and its totals.

    messages: written by users, raw completions too.
    speakers: how many users wrote them.
    persona: the one it was switched to last, or else the one that answered last.
    """

    name: str
    messages: int
    speakers: int
    persona: str | None
    prompt_tokens: int
    completion_tokens: int
    last_ms: int | None


def channels(connection: sqlite3.Connection, order: Order, limit: int) -> list[Channel]:
    """Return the first `limit` channels in an order: names ascending, all others descending.

    By name or activity, only the rows of these channels are read; otherwise all rows, once.
    """
    only = among = ""
    ids: list[int] = []
    if order in CHEAP:
        ids = [row[0] for row in connection.execute(CHEAP[order], (limit,))]
        # Our own integers, and more of them than a statement may have parameters.
        chosen = f"({', '.join(map(str, ids))})"
        only, among = f"WHERE channel_id IN {chosen}", f"WHERE c.id IN {chosen}"
    persona = PERSONA.format(channel="f.id")
    sql = TOTALS.format(only=only, among=among, order=SORTED[order], persona=persona)
    return [Channel(*row) for row in connection.execute(sql, (limit,))]


def find(connection: sqlite3.Connection, name: str) -> int | None:
    """Return a channel's id; None if there is no such channel."""
    row = connection.execute("SELECT id FROM channel WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def ids(connection: sqlite3.Connection) -> list[int]:
    """Return the ids of all channels, ordered by name."""
    return [row[0] for row in connection.execute("SELECT id FROM channel ORDER BY name")]


def nearest(connection: sqlite3.Connection, name: str, limit: int = 3) -> list[str]:
    """Return similar names of channels, the most similar first."""
    bare = name.strip().lstrip("#").lower()
    if not bare:
        return []
    same = connection.execute(
        "SELECT name FROM channel WHERE instr(lower(name), ?) ORDER BY length(name), name LIMIT ?",
        (bare, limit),
    ).fetchall()
    # Comparing is slow: if there are very many, prefer names that begin and end alike.
    alike = connection.execute(
        "SELECT name FROM channel WHERE abs(length(name) - ?) <= 3 ORDER BY"
        " (substr(name, 1, 2) = ?) + (substr(name, -3) = ?) DESC, id DESC LIMIT ?",
        (len(name), name[:2], name[-3:], CANDIDATES),
    ).fetchall()
    close = difflib.get_close_matches(name, [row[0] for row in alike], n=limit)
    return list(dict.fromkeys([*(row[0] for row in same), *close]))[:limit]
