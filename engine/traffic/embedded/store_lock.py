"""The lock on the server's directory: two servers would silently damage each other's files."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from engine.traffic.embedded.errors import EmbeddedNatsError

_ORPHAN_LIMIT_S = 5.0
_POLL_S = 0.01


class StoreInUse(EmbeddedNatsError):
    """Another server uses the directory. owner: its engine's process id, or None if unknown."""

    def __init__(self, directory: Path, owner: int | None) -> None:
        holder = f"process {owner}" if owner else "another process"
        super().__init__(
            f"{directory} is in use by {holder}. Stop that process, or set [nats] store_dir."
        )
        self.owner = owner


def is_taken(directory: Path) -> bool:
    """Return whether a server uses the directory. Leaves nothing behind. Raises OSError."""
    try:
        lock = os.open(directory / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


async def take(directory: Path) -> int:
    """Lock the directory until the returned file descriptor and its copies are closed.

    Raise StoreInUse if another process has the lock.
    """
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        await _lock(lock, directory)
    except BaseException:
        os.close(lock)
        raise
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


async def _lock(lock: int, directory: Path) -> None:
    try:
        async with asyncio.timeout(_ORPHAN_LIMIT_S):
            while not _try_lock(lock):
                owner = _owner(lock)
                if owner is None or _is_alive(owner):
                    raise StoreInUse(directory, owner)
                # The server of a killed engine needs a moment to end.
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StoreInUse(directory, None) from None


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(lock: int) -> int | None:
    text = os.pread(lock, 20, 0).strip()
    return int(text) if text.isdigit() else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
