"""The history: the append-only record of what happened in each channel, and the source of truth.

kind        a row for                  content
message     a user's turn              what the user wrote
answer      the turn's outcome         what the model answered
prompt      a raw completion           the text to complete
completion  its outcome                what the model wrote
error       a failed turn's outcome    the error's sentence; `code` has its code
cancelled   a stopped turn's outcome   what the model had written until then
reset       a reset                    nothing; the conversation is empty after this row
persona     a persona switch           nothing; `persona` is the new one
personas    a list of the personas     nothing
model       a model switch             nothing; `provider` and `model` are the new ones, or
                                       empty: back to the configured one
models      a look at the model        nothing
usage       a look at what was used    nothing
help        a list of the commands     nothing
stop        a stop                     nothing
erased       an erasure of other rows   what was erased (`storage/erasure_events.py`)

The rows of one turn are appended together and are adjacent: `message`, then its outcome. A message
is part of the conversation only if an `answer` follows it. `ts_ms` of a message is the time of its
acceptance, so ids do not grow with time (`storage/queries/row_times.py` for rows of older
versions); that of every other row is the time of its commit.

`details` of an outcome is JSON; each field may be missing:

accepted_ms      when the command was accepted, in milliseconds since 1970
started_ms       when its turn started
waited_ms        how long it waited for a free slot of the provider
attempts         how many calls were made to providers
exchanges        how many pairs of message and answer the model was shown, the channel's newest
persona_version  which text the persona had (`storage/persona_versions.py`)
hint_version     which text the hint of the channel's rule had; missing if there was none
model_from       "channel" if `!chat model` had chosen what was asked first
asked            the providers that were given the prompt, in order; missing if it was only the
                 one that the row names
temperature, max_tokens   as sent to the provider
prompt_form      which rules made the prompt (`engine/answering/prompt_forms.py`); none is form 1
prompt_digest    HMAC-SHA256 of the prompt, in hexadecimal digits, before the provider adapted it;
                 the key is `prompt_salt` of `personal`. In rows without that salt, of older
                 versions, it is the SHA-256 of the prompt
sent_as          what the provider changed in the prompt or the settings, a list of names
prompt_cut       true if the server seems to have cut the prompt

`personal` is JSON of what identifies a person, beside the name, or protects his text; it is erased
with the row, and each field may be missing:

user_id          the platform's id of the user
prompt_salt      the key of `prompt_digest`, 16 random bytes in hexadecimal digits: once it is
                 erased, nobody can confirm a guess of the text

`digest` chains each row to the one before it in its channel (`storage/hash_chain.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from storage import hash_chain
from storage.row_kinds import KINDS, Kind
from storage.writer.bulk_statements import Insert, Values
from storage.writer.connection import Head, known

ASKED = ("message", "prompt")
SWITCHES: Sequence[Kind] = ("persona", "model")
INSERT = Insert(
    "INSERT INTO history"
    " (channel_id, username, content, personal, salt, digest,"
    f" {', '.join(hash_chain.FACTS)})",
    columns=6 + len(hash_chain.FACTS),
)


class Row(NamedTuple):
    """A row to append. Tokens are as the provider counted them; `latency_ms` is the answer's.

    personal: the facts that are erased with the row, as JSON.
    """

    kind: Kind
    request_id: str
    username: str | None = None
    content: str = ""
    persona: str | None = None
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
    code: str | None = None
    details: Mapping[str, Any] | None = None
    personal: str | None = None


class TurnRows(NamedTuple):
    """The rows of one turn, appended together; the last one is the outcome.

    accepted_ms: the time of its message, also added to the outcome's details.
    salts: one for each row; new ones if there are none.
    """

    channel_id: int
    ts_ms: int
    rows: Sequence[Row]
    accepted_ms: int | None = None
    salts: Sequence[bytes] = ()


class PastRow(NamedTuple):
    """A stored row, with the fields that a conversation needs."""

    id: int
    kind: Kind
    username: str | None
    content: str
    persona: str | None
    provider: str | None = None
    model: str | None = None


def append(connection: sqlite3.Connection, turns: Sequence[TurnRows]) -> list[int]:
    """Append turns; number and chain each row within its channel. Return their outcomes' ids.

    For a turn without rows, it is the id of the channel's newest row.
    """
    heads = known(connection).heads
    ahead: dict[int, Head] = {}
    rows: list[Values] = []
    ends: list[int] = []
    for turn in turns:
        channel_id = turn.channel_id
        head = ahead.get(channel_id) or heads.get(channel_id) or _load_head(connection, channel_id)
        salts = turn.salts or hash_chain.new_salts(len(turn.rows))
        for row, salt in zip(turn.rows, salts, strict=True):
            values, head = _chain_row(turn, row, head, salt)
            rows.append(values)
        ahead[channel_id] = head
        ends.append(len(rows))
    ids = INSERT.ids(connection, rows)
    for channel_id, head in ahead.items():
        heads.put(channel_id, head)
    return [
        ids[end - 1] if turn.rows else newest(connection, turn.channel_id)
        for turn, end in zip(turns, ends, strict=True)
    ]


def _chain_row(turn: TurnRows, row: Row, head: Head, salt: bytes) -> tuple[Values, Head]:
    """Return the values to insert for a row that follows `head`, and the new head."""
    seq = head.seq + 1
    is_asked = row.kind in ASKED and turn.accepted_ms is not None
    facts = (
        seq,
        turn.accepted_ms if is_asked else turn.ts_ms,
        row.kind,
        row.request_id,
        row.persona,
        row.provider,
        row.model,
        row.finish_reason,
        row.prompt_tokens,
        row.completion_tokens,
        row.latency_ms,
        row.code,
        _details(row, turn.accepted_ms if row is turn.rows[-1] else None),
    )
    private = hash_chain.of_private(salt, row.username, row.content, row.personal)
    link = hash_chain.of_row(head.digest, private, facts)
    values = turn.channel_id, row.username, row.content, row.personal, salt, link
    return (*values, *facts), Head(seq, link)


def _load_head(connection: sqlite3.Connection, channel_id: int) -> Head:
    """Return the head that the channel's next row follows."""
    found = connection.execute(
        "SELECT seq, digest FROM history WHERE channel_id = ? ORDER BY id DESC LIMIT 1",
        (channel_id,),
    ).fetchone()
    if found is not None:
        return Head(*found)
    name = connection.execute("SELECT name FROM channel WHERE id = ?", (channel_id,)).fetchone()
    if name is None:
        raise sqlite3.IntegrityError(f"there is no channel {channel_id}")
    return Head(0, hash_chain.of_channel(name[0]))


def _details(row: Row, accepted_ms: int | None) -> str | None:
    details = {} if accepted_ms is None else {"accepted_ms": accepted_ms}
    details |= row.details or {}
    return orjson.dumps(details).decode() if details else None


def newest(connection: sqlite3.Connection, channel_id: int) -> int:
    """Return the id of a channel's newest row; 0 if it has none."""
    row = connection.execute(
        "SELECT id FROM history WHERE channel_id = ? ORDER BY id DESC LIMIT 1", (channel_id,)
    ).fetchone()
    return row[0] if row else 0


def tail(
    connection: sqlite3.Connection, channel_id: int, after_id: int, max_messages: int
) -> list[PastRow]:
    """Return the rows after `after_id` that a window of `max_messages` needs, oldest first.

    These are answered messages with their answers, the newest reset, and the newest switches of
    persona and model.

    Reads backwards and stops at that reset or when the window is full. Rows that it skips (failed
    turns, raw completions, erased rows) are not held in memory.
    """
    rows: list[PastRow] = []
    messages = 0
    newer: PastRow | None = None
    cursor = connection.execute(
        "SELECT id, kind, username, content, persona, provider, model, erased_ms FROM history"
        " WHERE channel_id = ? AND id > ? ORDER BY id DESC",
        (channel_id, after_id),
    )
    for *values, erased_ms in cursor:
        row = PastRow(*values)
        if row.kind == "message" and newer is not None and newer.kind == "answer":
            if erased_ms is None:
                rows += newer, row
                messages += 2
        elif KINDS[row.kind].style == "notice" and KINDS[row.kind].in_window:
            rows.append(row)
        if row.kind == "reset" or messages >= max_messages:
            break
        newer = row
    cursor.close()
    rows.reverse()
    if rows:
        rows[:0] = _switches_before(connection, channel_id, after_id, rows)
    return rows


def _switches_before(
    connection: sqlite3.Connection, channel_id: int, after_id: int, rows: Sequence[PastRow]
) -> list[PastRow]:
    """Return the newest switch of each kind that is not in `rows`, of those after `after_id`.

    It may be far back only without a snapshot.
    """
    there = {row.kind for row in rows}
    found: list[PastRow] = []
    for kind in SWITCHES:
        if kind not in there:
            # The kind is in the text, so that the index of its rows is used.
            row = connection.execute(
                "SELECT id, kind, username, content, persona, provider, model FROM history"  # noqa: S608
                f" WHERE channel_id = ? AND id > ? AND id < ? AND kind = '{kind}'"
                " ORDER BY id DESC LIMIT 1",
                (channel_id, after_id, rows[0].id),
            ).fetchone()
            found += [PastRow(*row)] if row else []
    return sorted(found, key=lambda row: row.id)
