"""Reads lines of standard input, in threads because a blocking read cannot be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable

CHUNK_BYTES = 64 * 1024
# The rest of a longer line is dropped; what remains is still too long for a message.
LONGEST_LINE_BYTES = 2 * 1024 * 1024


def is_interactive() -> bool:
    """Decide whether both input and output are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def tolerate_odd_bytes() -> None:
    """Make the standard streams replace undecodable bytes and letters instead of raising."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def clean(text: str) -> str:
    """Return the text with undecodable bytes (surrogates) replaced."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


async def in_thread(read: Callable[[], str | None]) -> str | None:
    """Return the result of `read`, called in a thread of its own.

    The thread is a daemon: it may still be waiting when the process ends.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str | None] = loop.create_future()

    def work() -> None:
        text = read()
        with contextlib.suppress(RuntimeError):  # the loop is closed by now
            loop.call_soon_threadsafe(_hand_over, line, text)

    threading.Thread(target=work, daemon=True).start()
    return await line


def _hand_over(line: asyncio.Future[str | None], text: str | None) -> None:
    if not line.done():
        line.set_result(text)


class PlainLines:
    """A prompt for terminals that cannot move their cursor: the terminal itself edits the line."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt

    async def next(self) -> str | None:
        """Return the next line; None at the end."""
        return await in_thread(lambda: read_line(self._prompt))


def read_line(prompt: str) -> str | None:
    """Return the next line that a person types; None at the end."""
    try:
        return input(prompt)
    except (EOFError, OSError):  # OSError: the terminal went away
        return None


class Piped:
    """A reader of lines from standard input.

    `sys.stdin` would stay locked while a thread waits in it, and Python could not exit.
    """

    def __init__(self) -> None:
        self._descriptor = None if sys.stdin is None else sys.stdin.fileno()
        self._rest = b""

    async def next(self) -> str | None:
        """Return the next line without its end; None after the last."""
        return await in_thread(self._line)

    async def rest(self) -> str:
        """Return all that is left, or so much of it that no message can hold it."""
        return await in_thread(self._all) or ""

    def _all(self) -> str:
        text = bytearray(self._rest)
        while len(text) < LONGEST_LINE_BYTES and (piece := self._read()):
            text += piece
        return text.decode(errors="replace")

    def _line(self) -> str | None:
        line = bytearray()
        while True:
            part, newline, self._rest = self._rest.partition(b"\n")
            line += part[: LONGEST_LINE_BYTES - len(line)]
            if newline:
                return line.decode(errors="replace")
            self._rest = self._read()
            if not self._rest:
                return line.decode(errors="replace") if line else None

    def _read(self) -> bytes:
        if self._descriptor is None:
            return b""
        try:
            return os.read(self._descriptor, CHUNK_BYTES)
        except OSError:  # the terminal went away
            return b""
