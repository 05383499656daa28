"""The keyboard during the demo: what is typed is not shown, and Enter ends the last page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator

ENDS = frozenset(b"\r\nqQ\x04")  # the last is Ctrl-D


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hide what is typed during the block, and forget it at the end. Ctrl-C works as always."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def forget() -> None:
    """Forget what was typed so far."""
    with contextlib.suppress(termios.error):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


async def enter() -> None:
    """Wait until Enter or q is pressed, or the terminal is closed."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    terminal = sys.stdin.fileno()

    def read() -> None:
        try:
            typed = os.read(terminal, 64)
        except OSError:
            typed = b""
        if not typed or ENDS.intersection(typed):
            pressed.set()

    loop.add_reader(terminal, read)
    try:
        await pressed.wait()
    finally:
        loop.remove_reader(terminal)
