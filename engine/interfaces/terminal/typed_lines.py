"""The lines that a person typed in earlier chats: a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory

KEPT = 1000


def path() -> Path:
    """Return the file: in the folder that XDG names for the state of programs."""
    folder = os.environ.get("XDG_STATE_HOME", "")
    base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".local" / "state"
    return base / "rosey-llm" / "chat-history"


class TypedLines(FileHistory):
    """A history of prompt_toolkit that keeps the newest `KEPT` lines.

    Without its file it keeps those of this chat.
    """

    def __init__(self, file: Path) -> None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
            file.chmod(0o600)
        super().__init__(str(file))
        self._file = file
        self._unwritten: list[str] = []

    def load_history_strings(self) -> Iterable[str]:
        """Return the lines, the newest first."""
        try:
            lines = list(super().load_history_strings())
        except OSError:
            lines = []
        if len(lines) > KEPT:
            self._rewrite(lines[:KEPT])
        return [*self._unwritten, *lines[:KEPT]]

    def store_string(self, string: str) -> None:
        """Add a line. A disk that is full must not end the conversation."""
        try:
            super().store_string(string)
        except OSError:
            self._unwritten.insert(0, string)

    def _rewrite(self, lines: list[str]) -> None:
        with contextlib.suppress(OSError):
            self._file.write_bytes(b"")
            for line in reversed(lines):
                super().store_string(line)
