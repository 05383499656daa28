"""The turn for which the current task calls a provider; log lines about a call name it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Origin(NamedTuple):
    """The channel and the request of a turn."""

    channel: str
    request_id: str


current: ContextVar[Origin | None] = ContextVar("rosey_llm_origin", default=None)


def named() -> dict[str, str]:
    """Return `channel` and `request_id` as fields of a log line; none outside a turn."""
    origin = current.get()
    return {} if origin is None else origin._asdict()
