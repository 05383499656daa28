"""Which providers were given the prompts of a channel."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

# The kinds of rows with the outcome of a turn that a model may have been asked in.
_ASKED = """
    SELECT provider, details FROM history WHERE channel_id = ?
    AND kind IN ('answer', 'completion', 'error', 'cancelled') ORDER BY id DESC LIMIT ?
"""
# A row names one provider; `details.asked` names all of them, if that differs.
_COUNTED = f"""
    WITH turn AS ({_ASKED}), named AS (
        SELECT provider AS name FROM turn
        WHERE details IS NULL OR json_type(details, '$.asked') IS NULL
        UNION ALL
        SELECT each.value FROM turn, json_each(turn.details, '$.asked') AS each
    )
    SELECT name, count(*) FROM named WHERE name IS NOT NULL GROUP BY name ORDER BY 2 DESC, 1
"""  # noqa: S608 - our own text


class AskedProviders(NamedTuple):
    """The providers by name, with the number of turns that each was asked in, the most first.

    is_all: whether all turns of the channel were looked at.
    """

    turns: Mapping[str, int]
    is_all: bool


def asked_providers(
    connection: sqlite3.Connection, channel_id: int, newest: int | None = None
) -> AskedProviders:
    """Return the providers that saw the channel's messages, in its `newest` turns or in all.

    Rows of versions before 0.2.0 name only the provider that answered, or was to.
    """
    limit = -1 if newest is None else newest
    turns = dict(connection.execute(_COUNTED, (channel_id, limit)).fetchall())
    rows = connection.execute(f"SELECT count(*) FROM ({_ASKED})", (channel_id, limit)).fetchone()  # noqa: S608
    return AskedProviders(turns, newest is None or rows[0] < newest)
