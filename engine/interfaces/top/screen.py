"""The screen of `rosey-llm top`: draws the view once, or again and again until the user quits."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live

from engine.interfaces.top import rates, view
from engine.interfaces.top.channel_list import ChannelList
from engine.interfaces.top.source import NotThere, Overview

PIPE_WIDTH = 120
KEY = re.compile(r"\x1b(?:\[[0-9;]*.|O.)?|.", re.DOTALL)
EXIT_TERMINATED = 143


def once(fetch: Callable[[], Overview], interval_s: float) -> None:
    """Print one frame, with the rates of `interval_s`. Raises NotThere.

    A pipe gets no colours.
    """
    before = fetch()
    time.sleep(interval_s)
    overview = fetch()
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    measured = rates.between(before, overview)
    console.print(view.frame(overview, measured, console.width, None, ChannelList()))


def live(fetch: Callable[[], Overview], interval_s: float) -> None:
    """Draw frames until q or Ctrl-C. Raises NotThere only before the first frame."""
    drawing = Drawing(fetch)
    console = Console()
    with _ended_cleanly(), _keys() as pressed:
        drawing.start()
        with Live(console=console, screen=True, auto_refresh=False) as shown:
            until_s = time.monotonic() + interval_s
            while True:
                shown.update(drawing.frame(console.size, interval_s), refresh=True)
                for key in pressed(until_s - time.monotonic()):
                    if drawing.channels.press(key):
                        return
                if time.monotonic() >= until_s:
                    drawing.refresh()
                    until_s = time.monotonic() + interval_s


class Drawing:
    """The latest overview that could be fetched, with its rates, and why there is no newer one.

    channels: which of them the user wants to see.
    """

    def __init__(self, fetch: Callable[[], Overview]) -> None:
        self._fetch = fetch
        self._overview: Overview
        self._rates: rates.Rates | None = None
        self.channels = ChannelList()
        self._gone: str | None = None

    def start(self) -> None:
        """Fetch the first overview. Raises NotThere."""
        self._overview = self._fetch()

    def refresh(self) -> None:
        """Fetch the next overview; keep the old one if the service is gone."""
        try:
            overview = self._fetch()
        except NotThere as exc:
            self._gone = str(exc)
            return
        self._rates = rates.between(self._overview, overview)
        self._overview, self._gone = overview, None

    def frame(self, size: ConsoleDimensions, interval_s: float) -> Group:
        footer = view.footer(self.channels, interval_s)
        whole = view.frame(
            self._overview, self._rates, size.width, size.height - 1, self.channels, self._gone
        )
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
def _keys() -> Iterator[Callable[[float], list[str]]]:
    """Yield a function that waits at most some seconds for keys, and returns them.

    A closed terminal is the key "". If stdin is not a terminal, it only waits.
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
        yield lambda seconds: _pressed(terminal, seconds)
    finally:
        with contextlib.suppress(termios.error):  # it was closed
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> list[str]:
    time.sleep(max(0, seconds))
    return []


def _pressed(terminal: int, seconds: float) -> list[str]:
    if not select.select([terminal], [], [], max(0, seconds))[0]:
        return []
    try:
        text = os.read(terminal, 256).decode(errors="replace")
    except OSError:  # it was closed, and no SIGHUP ended us
        return [""]
    return KEY.findall(text) or [""]
