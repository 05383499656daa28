"""The lock that lets only one engine use a database: with two, both would answer everything."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from storage.errors import CannotOpen, DatabaseInUse
from storage.sidecar import sidecar_path

ENDING = ", which is ending"
NAME_BYTES = 100
RETRY_S = 0.02  # `owner` holds a free lock itself for a moment


def owner(database: Path) -> str | None:
    """Return a name for the process that uses the database; None if there is none.

    Raises CannotOpen if this user may not read the lock file.
    """
    file = sidecar_path(database, ".lock")
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise CannotOpen(
            f"Cannot read {file}: {exc.strerror}. Run this command as the service's user."
        ) from exc
    try:
        return _read_name(fd) if _is_locked(fd) else None
    finally:
        os.close(fd)


class Lock:
    """A locked file beside the database that names its owner; freed when the process ends.

    command: the command of ours that takes it, and ends by itself; "" for a service.
    """

    def __init__(self, database: Path, command: str = "") -> None:
        self._database = database
        self._name = f"rosey-llm {command}".rstrip()
        self._file = sidecar_path(database, ".lock")
        self._fd: int | None = None

    def take(self) -> None:
        """Raise DatabaseInUse if another process has it, OSError if the folder cannot be used."""
        if not self._file.parent.exists():
            self._file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def tell_end(self) -> None:
        """Tell other processes that the lock is freed soon."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a full disk must not stop the end
                self._write_name(self._fd, ENDING)

    def free(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _lock(self, fd: int) -> None:
        for last in (False, True):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if last:
                    raise self._in_use(_read_name(fd)) from None
                time.sleep(RETRY_S)
        self._write_name(fd)

    def _write_name(self, fd: int, state: str = "") -> None:
        # In one write over the old name: it needs no new room on the disk, and no other process
        # ever reads a part of it.
        name = f"{self._name}, process {os.getpid()}{state}".encode()
        os.pwrite(fd, name.ljust(NAME_BYTES), 0)

    def _in_use(self, owner: str) -> DatabaseInUse:
        by_command, is_ending = owner.startswith("rosey-llm "), owner.endswith(ENDING)
        todo = "Stop that process first, or set [storage] path."
        if by_command or is_ending:
            todo = "Try again when it has ended."
        text = f"{self._database} is in use by {owner}. {todo}"
        return DatabaseInUse(text, by_command=by_command, is_ending=is_ending)


def _read_name(fd: int) -> str:
    return os.pread(fd, NAME_BYTES, 0).decode(errors="replace").strip() or "another process"


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
