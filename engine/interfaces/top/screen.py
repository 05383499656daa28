"""The screen of `rosey-llm top`: draws the view once, or again and again until the user quits."""

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


def once(fetch: Callable[[], Overview]) -> None:
    """Print one frame, without colours in a pipe. Raises NotThere."""
    overview = fetch()
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(view.frame(overview, rates.between(None, overview), None))


def live(fetch: Callable[[], Overview], interval_s: float) -> None:
    """Draw frames until q or Ctrl-C. Raises NotThere only before the first frame."""
    drawing = Drawing(fetch)
    console = Console()
    with _ended_cleanly(), _keys() as quit_pressed:
        drawing.start()
        with Live(console=console, screen=True, auto_refresh=False) as shown:
            while True:
                shown.update(drawing.frame(console.height, interval_s), refresh=True)
                if quit_pressed(interval_s):
                    return
                drawing.refresh()


class Drawing:
    """The latest overview that could be fetched, with its rates, and why there is no newer one."""

    def __init__(self, fetch: Callable[[], Overview]) -> None:
        self._fetch = fetch
        self._overview: Overview
        self._rates: rates.Rates
        self._gone: str | None = None

    def start(self) -> None:
        """Fetch the first overview. Raises NotThere."""
        self._overview = self._fetch()
        self._rates = rates.between(None, self._overview)

    def refresh(self) -> None:
        """Fetch the next overview; keep the old one if the service is gone."""
        try:
            overview = self._fetch()
        except NotThere as exc:
            self._gone = str(exc)
            return
        self._rates = rates.between(self._overview, overview)
        self._overview, self._gone = overview, None

    def frame(self, height: int, interval_s: float) -> Group:
        footer = Text(f"every {interval_s:g} s; q quits", "dim")
        whole = view.frame(self._overview, self._rates, height - 1, self._gone)
        return Group(whole, footer)


@contextlib.contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Treat Ctrl-C as a normal end; on SIGTERM, exit so that the terminal is restored."""
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
    """Yield a function that waits for some seconds and returns True as soon as q is pressed.

    If stdin is not a terminal, it only waits.
    """
    if not sys.stdin.isatty():
        yield _sleep
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield lambda seconds: _wait_for_q(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _wait_for_q(terminal: int, seconds: float) -> bool:
    until_s = time.monotonic() + seconds
    while (wait_s := until_s - time.monotonic()) > 0:
        if select.select([terminal], [], [], wait_s)[0]:
            pressed = os.read(terminal, 64)
            if not pressed or pressed.lower().startswith(b"q"):
                return True
    return False
