"""Writes a file that gets its name only when it is complete."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def new_file(path: Path, *, replace: bool, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`, and rename it to `path` after the block.

    If the block raises, or if `path` exists and `replace` is false, `path` stays as it was. A
    symbolic link is kept, and its target written; a replaced file keeps its mode if it is narrower
    than `mode`. A device or a pipe is written to directly. Raises OSError.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            if replace and path.exists():
                part.chmod(stat.S_IMODE(path.stat().st_mode) & mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not replace and path.exists():
            raise FileExistsError(errno.EEXIST, "it exists", str(path))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
