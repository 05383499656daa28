"""The keyboard during the demo: what is typed is not shown, and Enter ends the last page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator

ENDS = (b"\r", b"\n", b"q", b"Q", b"\x04", b"")  # "": the terminal was closed


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hide what is typed during the block, and forget it at the end. Ctrl-C works as always."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


async def enter() -> None:
    """Wait until Enter or q is pressed."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    terminal = sys.stdin.fileno()

    def read() -> None:
        if any(key in ENDS for key in _keys(os.read(terminal, 64))):
            pressed.set()

    termios.tcflush(terminal, termios.TCIFLUSH)  # what was typed while nobody was asked
    loop.add_reader(terminal, read)
    try:
        await pressed.wait()
    finally:
        loop.remove_reader(terminal)


def _keys(typed: bytes) -> list[bytes]:
    return [bytes([key]) for key in typed] or [b""]
