"""One engine per file: SQLite would let two in, and each would answer everything."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import DatabaseInUse


class Lock:
    """A file beside the database that says who has it. The kernel frees it with the process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._file = database.with_name(database.name + ".lock")
        self._fd: int | None = None

    def take(self) -> None:
        """Raises DatabaseInUse where another has it, OSError where the folder cannot be used."""
        if not self._file.parent.exists():
            self._file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._own(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def free(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _own(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 100).decode(errors="replace").strip() or "another process"
            raise DatabaseInUse(
                f"{self._database} is in use by {owner}. "
                "Stop that one first, or set [storage] path."
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"rosey-llm, process {os.getpid()}".encode())
