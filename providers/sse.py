"""Bytes in, lines or events out: server-sent events and newline-delimited JSON, without any I/O.

Bytes are searched once, so a long line costs no more in many blocks than in one. Lines end at CR,
LF or CRLF and nowhere else (`str.splitlines` would also cut at U+2028 inside an answer), and text
is decoded only when it is whole, so a character may be split over two blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIMIT_BYTES = 8 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """A line, an event or a body passed its limit of bytes."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `kind` is its `event` field, "message" where it had none."""

    data: str
    kind: str = "message"


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
        *complete, rest = _LINE_END.split(block)
        lines = [self._line(part) for part in complete]
        self._grow(rest)
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where nothing ended it."""
        return [self._line(b"")] if self._tail else []

    def _line(self, part: bytes) -> bytes:
        self._grow(part)
        line = bytes(self._tail)
        self._tail.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        return line

    def _grow(self, part: bytes) -> None:
        self._tail += part
        if len(self._tail) > self._limit_bytes:
            raise TooLong(f"a line of more than {self._limit_bytes} bytes")


class JsonLines:
    """The texts of newline-delimited JSON; blank lines are passed over."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)

    def feed(self, block: bytes) -> list[str]:
        return _texts(self._lines.feed(block))

    def finish(self) -> list[str]:
        return _texts(self._lines.finish())


class Events:
    """Server-sent events. The last one counts even where no blank line ends it."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)
        self._limit_bytes = limit_bytes
        self._data: list[bytes] = []
        self._size_bytes = 0
        self._kind = b""

    def feed(self, block: bytes) -> list[Event]:
        return self._events(self._lines.feed(block))

    def finish(self) -> list[Event]:
        return self._events([*self._lines.finish(), b""])

    def _events(self, lines: list[bytes]) -> list[Event]:
        events = []
        for line in lines:
            if line:
                self._field(line)
            elif event := self._dispatch():
                events.append(event)
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size_bytes += len(value) + 1
            if self._size_bytes > self._limit_bytes:
                raise TooLong(f"an event of more than {self._limit_bytes} bytes")
            self._data.append(value)
        elif name == b"event":
            self._kind = value

    def _dispatch(self) -> Event | None:
        data, kind = b"\n".join(self._data), self._kind
        self._data, self._size_bytes, self._kind = [], 0, b""
        return Event(_text(data), _text(kind) or "message") if data else None


def _texts(lines: list[bytes]) -> list[str]:
    return [_text(line) for line in lines if line.strip()]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
