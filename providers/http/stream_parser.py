"""Parsers for server-sent events and newline-delimited JSON: bytes in, lines or events out.

They do no I/O. Each byte is searched once, so a long line costs the same in one block or in many.
Lines end only at CR, LF or CRLF (`str.splitlines` would also split at U+2028 inside an answer).
Only whole lines are decoded, so a character can be split over two blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from providers.http import lenient_json

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
    """A parser that splits newline-delimited JSON into lines and skips blank ones.

    A body whose first line is only an opening brace is one object over many lines.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)
        self._limit_bytes = limit_bytes
        self._first = True
        self._object: list[bytes] = []
        self._size_bytes = 0

    def feed(self, block: bytes) -> list[bytes]:
        return self._whole(self._lines.feed(block))

    def finish(self) -> list[bytes]:
        lines = self._whole(self._lines.finish())
        return [*lines, b"\n".join(self._object)] if self._object else lines

    def _whole(self, lines: list[bytes]) -> list[bytes]:
        lines = [line for line in lines if line.strip()]
        if self._first and lines:
            self._first = False
            if lines[0].strip() == b"{":
                self._object.append(b"")
        if not self._object:
            return lines
        self._object += lines
        self._size_bytes += sum(map(len, lines)) + len(lines)
        if self._size_bytes > self._limit_bytes:
            raise TooLong(f"an object of more than {self._limit_bytes} bytes")
        return []


class Events:
    """A parser for server-sent events. It returns only the data of an event without a kind.

    The last event counts even without the blank line after it. Some servers leave out the blank
    lines, so each line of data that is a whole JSON object is an event of its own. So is a JSON
    object without "data:", on one line or many.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = Lines(limit_bytes)
        self._limit_bytes = limit_bytes
        self._data: list[bytes] = []
        self._size_bytes = 0
        self._kind = b""
        self._next_kind = b""
        # Whether the server leaves out the blank lines, and whether the data is an object over many
        # lines without "data:".
        self._no_blanks = False
        self._bare = False

    def feed(self, block: bytes) -> Sequence[bytes | ServerSentEvent]:
        begins_event = self._lines.at_line_start and not self._data and not self._kind
        if begins_event and (events := _simple_events(block, self._limit_bytes)):
            return events
        return self._events(self._lines.feed(block))

    def finish(self) -> Sequence[bytes | ServerSentEvent]:
        events = self._events(self._lines.finish())
        return [*events, *self._end()]

    def _events(self, lines: list[bytes]) -> list[bytes | ServerSentEvent]:
        events: list[bytes | ServerSentEvent] = []
        for line in lines:
            if line.startswith(b"data:"):
                events += self._add(line[5:].removeprefix(b" "))
            elif self._bare or line.startswith(b"{"):
                events += self._add_bare(line)
            elif line:
                self._field(line)
            else:
                events += self._end()
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"event" and self._data:
            self._next_kind = value.removeprefix(b" ")
        elif name == b"event":
            self._kind = value.removeprefix(b" ")
        elif name == b"data":
            self._append(b"")

    def _add(self, value: bytes) -> list[bytes | ServerSentEvent]:
        """Add a line of data; return the events that are complete by it."""
        events: list[bytes | ServerSentEvent] = []
        if self._data and (self._bare or _is_object(self._data)):
            self._no_blanks = True
            kind, self._next_kind = self._next_kind, b""
            events += self._end()
            self._kind = kind
        self._append(value)
        if self._no_blanks and (value.strip() == b"[DONE]" or _is_object(self._data)):
            events += self._end()
        return events

    def _add_bare(self, line: bytes) -> list[bytes | ServerSentEvent]:
        if self._bare:
            self._append(line)
            return []
        if _is_object([line]):
            return self._add(line)
        events = self._end()
        self._bare = True
        self._append(line)
        return events

    def _append(self, value: bytes) -> None:
        self._data.append(value)
        self._size_bytes += len(value) + 1
        if self._size_bytes > self._limit_bytes:
            raise TooLong(f"an event of more than {self._limit_bytes} bytes")

    def _end(self) -> list[bytes | ServerSentEvent]:
        """Return the event that ends here, if it has data."""
        data, kind = b"\n".join(self._data), self._next_kind or self._kind
        self._data, self._size_bytes, self._bare = [], 0, False
        self._kind = self._next_kind = b""
        if not data:
            return []
        return [ServerSentEvent(data, _text(kind)) if kind else data]


def _is_object(data: Sequence[bytes]) -> bool:
    """Return whether the data is one line with a whole JSON object; nothing can follow it."""
    if len(data) != 1 or not (data[0].startswith(b"{") and data[0].rstrip().endswith(b"}")):
        return False
    with suppress(orjson.JSONDecodeError):
        parsed(data[0])
        return True
    return False


def parsed(data: bytes) -> Any:
    """Return the JSON of a line or an event; JSONDecodeError if it is invalid.

    Bytes that are not UTF-8, and other flaws beside the texts, do not affect the rest.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return lenient_json.loads(_text(data))


def _simple_events(block: bytes, limit_bytes: int) -> list[bytes]:
    """Return the data of a block of complete events of one line each; [] for any other block.

    Nearly all blocks are like this, and it takes a quarter of the time.
    """
    if not (block.startswith(b"data: ") and block.endswith(b"\n\n") and len(block) <= limit_bytes):
        return []
    events = block[6:-2].split(b"\n\ndata: ")
    one_line_each = block.count(b"\n") == 2 * len(events) and b"\r" not in block
    return events if one_line_each and all(events) else []


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
