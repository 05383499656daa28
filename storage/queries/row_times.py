"""The time of a history row, as SQL on `history h`.

A message has the time at which it was accepted. In rows of an older version, `ts_ms` of a message
is the time of its outcome; the outcome, which is the next row, also has the time of acceptance.
"""

from __future__ import annotations

# By its id: the rows of a turn are adjacent.
_OUTCOME = (
    "(SELECT {value} FROM {schema}history o WHERE o.id = h.id + 1"
    " AND o.channel_id = h.channel_id AND o.request_id = h.request_id)"
)
_OF_ASKED = "CASE WHEN h.kind IN ('message', 'prompt') THEN {value} END"


def time_ms(schema: str = "") -> str:
    """Return an expression for the time to show: of acceptance, for a message or prompt."""
    accepted = _OUTCOME.format(value="json_extract(o.details, '$.accepted_ms')", schema=schema)
    return f"coalesce({_OF_ASKED.format(value=accepted)}, h.ts_ms)"


def outcome_ms() -> str:
    """Return an expression for the time at which the row's turn ended."""
    outcome = _OUTCOME.format(value="o.ts_ms", schema="")
    return f"coalesce({_OF_ASKED.format(value=outcome)}, h.ts_ms)"
