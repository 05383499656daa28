"""Keeps what a person types while nothing reads it, without an echo, for the next prompt."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

PASTES_MARKED, PASTES_UNMARKED = "\x1b[?2004h", "\x1b[?2004l"


class TypeAhead:
    """The terminal of standard input, quiet until `leave`.

    Whatever a prompt changes in between, `be_quiet` makes it quiet again.
    """

    def __init__(self) -> None:
        self._before: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        try:
            import termios
        except ImportError:  # not available on Windows
            return
        self._before = termios.tcgetattr(sys.stdin.fileno())
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._end_by)
        self.be_quiet()

    def be_quiet(self) -> None:
        """Neither echo nor cut into lines what is typed; Ctrl-C is still a signal."""
        if self._before is None:
            return
        import termios

        modes = termios.tcgetattr(sys.stdin.fileno())
        modes[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
        modes[3] = (modes[3] | termios.ISIG) & ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        modes[6] = list(modes[6])
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        # Ctrl-Z waits for the prompt, too, which knows how to stop and to go on.
        modes[6][termios.VSUSP] = b"\0"
        with contextlib.suppress(OSError, termios.error):  # the terminal went away
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, modes)
            sys.stdout.write(PASTES_MARKED)
            sys.stdout.flush()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Give the terminal back for a question. What was typed before it is no answer to it."""
        if self._before is None:
            yield
            return
        import termios

        termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, self._before)
        sys.stdout.write(PASTES_UNMARKED)
        sys.stdout.flush()
        try:
            yield
        finally:
            self.be_quiet()

    def leave(self) -> None:
        """Give the terminal back as it was, without what nobody has read."""
        if self._before is None:
            return
        import termios

        before, self._before = self._before, None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, before)
            sys.stdout.write(PASTES_UNMARKED)
            sys.stdout.flush()

    def _end_by(self, number: int, frame: FrameType | None) -> None:
        """End this process by the signal, but give the terminal back first."""
        self.leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
