"""The view on the terminal: drawn again and again until somebody leaves."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from engine.interfaces.top import rates, view
from engine.interfaces.top.source import NotThere, Overview

PIPE_WIDTH = 120
EXIT_TERMINATED = 143


def once(look: Callable[[], Overview]) -> None:
    """One frame, without colours where nobody watches. Raises NotThere."""
    seen = look()
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(view.frame(seen, rates.between(None, seen), None))


def live(look: Callable[[], Overview], interval_s: float) -> None:
    """Frame after frame, until q or Ctrl-C. NotThere only before the first one."""
    drawing = Drawing(look)
    console = Console()
    with _ended_cleanly(), _keys() as pressed:
        drawing.look()
        with Live(console=console, screen=True, auto_refresh=False) as shown:
            while True:
                shown.update(drawing.frame(console.height, interval_s), refresh=True)
                if pressed(interval_s):
                    return
                drawing.look_again()


class Drawing:
    """What was seen last, and why nothing newer is."""

    def __init__(self, look: Callable[[], Overview]) -> None:
        self._look = look
        self._seen: Overview
        self._rates: rates.Rates
        self._gone: str | None = None

    def look(self) -> None:
        """For the first time. Raises NotThere."""
        self._seen = self._look()
        self._rates = rates.between(None, self._seen)

    def look_again(self) -> None:
        try:
            seen = self._look()
        except NotThere as exc:
            self._gone = str(exc)
            return
        self._rates = rates.between(self._seen, seen)
        self._seen, self._gone = seen, None

    def frame(self, height: int, interval_s: float) -> Group:
        footer = Text(f"every {interval_s:g} s; q leaves", "dim")
        whole = view.frame(self._seen, self._rates, height - 1, self._gone)
        return Group(whole, footer)


@contextlib.contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Ctrl-C is a way to leave, and SIGTERM leaves the terminal as it was."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(EXIT_TERMINATED)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Waits so many seconds; True at once where q is pressed. No keys where stdin is a pipe."""
    if not sys.stdin.isatty():
        yield _slept
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield lambda seconds: _left(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _left(terminal: int, seconds: float) -> bool:
    until_s = time.monotonic() + seconds
    while (wait_s := until_s - time.monotonic()) > 0:
        if select.select([terminal], [], [], wait_s)[0]:
            pressed = os.read(terminal, 64)
            if not pressed or pressed.lower().startswith(b"q"):
                return True
    return False
