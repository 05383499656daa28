"""Bytes in, lines or events out: server-sent events and newline-delimited JSON, without any I/O.

Bytes are searched once, so a long line costs no more in many blocks than in one. Lines end at CR,
LF or CRLF and nowhere else (`str.splitlines` would also cut at U+2028 inside an answer), and text
is decoded only when it is whole, so a character may be split over two blocks.
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
    """A line, an event or a body passed its limit of bytes."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """A server-sent event that says its `kind`."""

    data: bytes
    kind: str


class Lines:
    """Complete lines, without their ends and without a byte order mark."""

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
            lines[0] = self._ended(lines[0])
            if len(block) > self._limit_bytes:
                self._check(max(map(len, lines)))
        self._tail += rest
        self._check(len(self._tail))
        return lines

    @property
    def between(self) -> bool:
        """Whether the next block begins a line."""
        return not self._tail and not self._after_cr

    def finish(self) -> list[bytes]:
        """The last line, where nothing ended it."""
        return [self._ended(b"")] if self._tail else []

    def _ended(self, part: bytes) -> bytes:
        """The line that ends with this part."""
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
    """The lines of newline-delimited JSON; blank ones are passed over."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)

    def feed(self, block: bytes) -> list[bytes]:
        return _filled(self._lines.feed(block))

    def finish(self) -> list[bytes]:
        return _filled(self._lines.finish())


class Events:
    """Server-sent events: the data alone of one that says no kind.

    The last one counts even where no blank line ends it.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)
        self._limit_bytes = limit_bytes
        self._data: list[bytes] = []
        self._size_bytes = 0
        self._kind = b""

    def feed(self, block: bytes) -> Sequence[bytes | ServerSentEvent]:
        if self._between and (events := _plain(block, self._limit_bytes)):
            return events
        return self._events(self._lines.feed(block))

    def finish(self) -> Sequence[bytes | ServerSentEvent]:
        return self._events([*self._lines.finish(), b""])

    @property
    def _between(self) -> bool:
        """Whether the next block begins an event."""
        return self._lines.between and not self._data and not self._kind

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
    """The JSON of a line or an event; a broken character spoils no other. JSONDecodeError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return orjson.loads(_text(data))


def _plain(block: bytes, limit_bytes: int) -> list[bytes]:
    """The data of a block's events, where each is one line and the last one is whole; else none.

    That is how nearly all blocks are, and a quarter of the work.
    """
    if not (block.startswith(b"data: ") and block.endswith(b"\n\n") and len(block) <= limit_bytes):
        return []
    events = block[6:-2].split(b"\n\ndata: ")
    alone = block.count(b"\n") == 2 * len(events) and b"\r" not in block
    return events if alone and all(events) else []


def _filled(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.strip()]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
