"""W3C trace context: reads it from a message's headers and holds it for the current task.

Each HTTP request to a provider carries the context of `current`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

TRACESTATE_LIMIT = 512
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-[!-~]*)?"
)
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = rf"{_KEY}=[ -+\--<>-~]{{0,255}}[!-+\--<>-~]"
_TRACESTATE = re.compile(rf"{_MEMBER}(?:[ \t]*,[ \t]*{_MEMBER}){{0,31}}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The two headers of a trace context; `tracestate` is "" if there is none."""

    traceparent: str
    tracestate: str = ""

    @property
    def headers(self) -> dict[str, str]:
        state = {"tracestate": self.tracestate} if self.tracestate else {}
        return {"traceparent": self.traceparent, **state}

    @property
    def trace_id(self) -> int:
        return int(self.traceparent[3:35], 16)

    @property
    def span_id(self) -> int:
        return int(self.traceparent[36:52], 16)

    @property
    def flags(self) -> int:
        return int(self.traceparent[53:55], 16)


def read(headers: Mapping[str, str]) -> TraceContext | None:
    """Return the context in a message's headers; None if there is none, or an invalid one.

    Header names can be in any case. From a later version than 00, only the fields of version 00
    are used, as the specification asks.
    """
    named = {name.lower(): value for name, value in headers.items()}
    found = _TRACEPARENT.fullmatch(named.get("traceparent", "").strip(" \t"))
    if found is None or (found["version"] == "00" and found["more"] is not None):
        return None
    flags = found["flags"] if found["version"] == "00" else f"{int(found['flags'], 16) & 1:02x}"
    state = named.get("tracestate", "").strip(" \t")
    if len(state) > TRACESTATE_LIMIT or not _TRACESTATE.fullmatch(state):
        state = ""
    return TraceContext(f"00-{found['trace']}-{found['span']}-{flags}", state)


current: ContextVar[TraceContext | None] = ContextVar("rosey_llm_trace", default=None)
