"""The system's page cache: read files into it, or drop them from it.

Do not use it in a process that has the file open in SQLite: closing it would free SQLite's locks.
"""

from __future__ import annotations

import os
from pathlib import Path

CAN_FORGET = hasattr(os, "posix_fadvise")


def write_back(path: Path) -> None:
    """Wait until the file is on disk; it also stays in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_in(path: Path) -> None:
    """Read the whole file, so that it is in memory if the system keeps it there."""
    chunk = bytearray(2**20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(chunk):
            pass


def forget(path: Path) -> None:
    """Drop the file, and files beside it whose names begin with its name, from memory.

    The next read comes from the disk, which may have a cache of its own.
    """
    for file in path.parent.glob(f"{path.name}*"):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # what is not on disk yet is never dropped
            if CAN_FORGET:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
