"""A progress bar on standard error, or one line about long work when there is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

NOTEWORTHY = 50_000


class ProgressBar:
    """A context manager that shows progress.

    On a terminal it is a bar; else it writes one line, and only for `NOTEWORTHY` rows or more.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._task: Any = None
        self._announced = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @staticmethod
    def is_seen() -> bool:
        """Decide whether standard error is a terminal."""
        return sys.stderr is not None and sys.stderr.isatty()

    def update(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif self.is_seen():
            self._open(done, total)
        elif total >= NOTEWORTHY and not self._announced:
            self._announced = True
            sys.stderr.write(f"{self._label}: {total:,} rows ...\n")

    def _open(self, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=total, completed=done)
