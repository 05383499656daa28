"""Brings log lines to a terminal on which a conversation is held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class LogLines(logging.Handler):
    """A handler that hands each line to the event loop's thread, whatever thread logs it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self._show, self.format(record))


@contextmanager
def log_lines(show: Callable[[str], None]) -> Iterator[None]:
    """During the block, call `show` with each log line in place of the present handlers."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [LogLines(show)]
    try:
        yield
    finally:
        root.handlers[:] = before
