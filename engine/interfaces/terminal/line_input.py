"""Lines of standard input, read by threads: whoever waits for a keyboard cannot be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable

CHUNK_BYTES = 64 * 1024
# What goes beyond is dropped; the rest is still more than fits into a message.
LONGEST_LINE_BYTES = 2 * 1024 * 1024


def is_interactive() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def tolerate_odd_bytes() -> None:
    """What cannot be decoded or shown is replaced, where it would end the conversation."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def clean(text: str) -> str:
    """Without the surrogates that stand for bytes which are not text."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def printable(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


async def in_thread(read: Callable[[], str | None]) -> str | None:
    """What `read` gives, from a thread of its own that may be left behind."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str | None] = loop.create_future()

    def work() -> None:
        text = read()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(_hand_over, line, text)

    threading.Thread(target=work, daemon=True).start()
    return await line


def _hand_over(line: asyncio.Future[str | None], text: str | None) -> None:
    if not line.done():
        line.set_result(text)


def typed(prompt: str) -> str | None:
    """The next line of a person; None at the end."""
    try:
        return input(prompt)
    except (EOFError, OSError):  # OSError: the terminal went away
        return None


class Piped:
    """The lines of a file descriptor.

    `sys.stdin` would be locked while a thread waits in it, and Python cannot end with that.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def next(self) -> str | None:
        """Waits for the next line, without its end; None after the last."""
        line = bytearray()
        while True:
            part, newline, self._rest = self._rest.partition(b"\n")
            line += part[: LONGEST_LINE_BYTES - len(line)]
            if newline:
                return line.decode(errors="replace")
            self._rest = self._more()
            if not self._rest:
                return line.decode(errors="replace") if line else None

    def _more(self) -> bytes:
        if self._descriptor is None:
            return b""
        try:
            return os.read(self._descriptor, CHUNK_BYTES)
        except OSError:  # the other end is a terminal that went away
            return b""
