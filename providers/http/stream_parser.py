"""Parsers for server-sent events and newline-delimited JSON: bytes in, lines or events out.

They do no I/O. Each byte is searched once, so a long line costs the same in one block or in many.
Lines end only at CR, LF or CRLF (`str.splitlines` would also split at U+2028 inside an answer).
Only whole lines are decoded, so a character can be split over two blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

LIMIT_BYTES = 8 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """A line, an event or a body is longer than its limit in bytes."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """A server-sent event that has a `kind` (its `event` field)."""

    data: bytes
    kind: str


class Lines:
    """A parser that splits bytes into lines, without line ends and byte order mark."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._tail = bytearray()
        self._first = True
        self._after_cr = False

    def feed(self, block: bytes) -> list[bytes]:
        if not block:
            return []
        if self._after_cr and block.startswith(b"\n"):
            block = block[1:]
        self._after_cr = block.endswith(b"\r")
        lines = _LINE_END.split(block) if b"\r" in block else block.split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = self._complete(lines[0])
            if len(block) > self._limit_bytes:
                self._check(max(map(len, lines)))
        self._tail += rest
        self._check(len(self._tail))
        return lines

    @property
    def at_line_start(self) -> bool:
        """Whether the next block begins a new line."""
        return not self._tail and not self._after_cr

    def finish(self) -> list[bytes]:
        """Return the last line if it had no line end."""
        return [self._complete(b"")] if self._tail else []

    def _complete(self, part: bytes) -> bytes:
        """Return the whole line that ends with this part."""
        if self._tail:
            part = bytes(self._tail) + part
            self._tail.clear()
            self._check(len(part))
        if self._first:
            self._first = False
            part = part.removeprefix(_BOM)
        return part

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise TooLong(f"a line of more than {self._limit_bytes} bytes")


class JsonLines:
    """A parser that splits newline-delimited JSON into lines and skips blank ones."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)

    def feed(self, block: bytes) -> list[bytes]:
        return _without_blank(self._lines.feed(block))

    def finish(self) -> list[bytes]:
        return _without_blank(self._lines.finish())


class Events:
    """A parser for server-sent events. It returns only the data of an event without a kind.

    The last event counts even without the blank line after it.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)
        self._limit_bytes = limit_bytes
        self._data: list[bytes] = []
        self._size_bytes = 0
        self._kind = b""

    def feed(self, block: bytes) -> Sequence[bytes | ServerSentEvent]:
        if self._at_event_start and (events := _simple_events(block, self._limit_bytes)):
            return events
        return self._events(self._lines.feed(block))

    def finish(self) -> Sequence[bytes | ServerSentEvent]:
        return self._events([*self._lines.finish(), b""])

    @property
    def _at_event_start(self) -> bool:
        """Whether the next block begins a new event."""
        return self._lines.at_line_start and not self._data and not self._kind

    def _events(self, lines: list[bytes]) -> list[bytes | ServerSentEvent]:
        events: list[bytes | ServerSentEvent] = []
        for line in lines:
            if line.startswith(b"data: "):
                self._add(line[6:])
            elif line:
                self._field(line)
            elif event := self._dispatch():
                events.append(event)
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._kind = value

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._size_bytes += len(value) + 1
        if self._size_bytes > self._limit_bytes:
            raise TooLong(f"an event of more than {self._limit_bytes} bytes")

    def _dispatch(self) -> bytes | ServerSentEvent | None:
        data, kind = b"\n".join(self._data), self._kind
        self._data, self._size_bytes, self._kind = [], 0, b""
        return ServerSentEvent(data, _text(kind)) if data and kind else data or None


def parsed(data: bytes) -> Any:
    """Return the JSON of a line or an event; JSONDecodeError if it is invalid.

    Bytes that are not UTF-8 are replaced and do not affect the rest.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return orjson.loads(_text(data))


def _simple_events(block: bytes, limit_bytes: int) -> list[bytes]:
    """Return the data of a block of complete events of one line each; [] for any other block.

    Nearly all blocks are like this, and it takes a quarter of the time.
    """
    if not (block.startswith(b"data: ") and block.endswith(b"\n\n") and len(block) <= limit_bytes):
        return []
    events = block[6:-2].split(b"\n\ndata: ")
    one_line_each = block.count(b"\n") == 2 * len(events) and b"\r" not in block
    return events if one_line_each and all(events) else []


def _without_blank(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.strip()]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
