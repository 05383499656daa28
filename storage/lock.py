"""One engine per file: SQLite would let two in, and each would answer everything."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from storage.errors import CannotOpen, DatabaseInUse
from storage.sidecar import sidecar_path

LOOK_S = 0.02  # `owner`, which has a look, has a free lock for a moment itself


def owner(database: Path) -> str | None:
    """Who has the database, as it calls itself; None where nobody does.

    CannotOpen where only another user may know.
    """
    file = sidecar_path(database, ".lock")
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise CannotOpen(f"{file} cannot be read: {exc.strerror}. Be the service's user.") from exc
    try:
        return _said(fd) if _is_locked(fd) else None
    finally:
        os.close(fd)


class Lock:
    """A file beside the database that says who has it. The kernel frees it with the process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._file = sidecar_path(database, ".lock")
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
        for last in (False, True):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if last:
                    raise DatabaseInUse(
                        f"{self._database} is in use by {_said(fd)}. "
                        "Stop that one first, or set [storage] path."
                    ) from None
                time.sleep(LOOK_S)
        os.ftruncate(fd, 0)
        os.write(fd, f"rosey-llm, process {os.getpid()}".encode())


def _said(fd: int) -> str:
    return os.pread(fd, 100, 0).decode(errors="replace").strip() or "another process"


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
