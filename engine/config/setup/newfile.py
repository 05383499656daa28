"""Writes a new file completely or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path


def check_free(path: Path, *, replace: bool) -> None:
    """Raise FileExistsError if the file exists already (unless `replace`), or is no plain file."""
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is not a plain file.")
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists already; --force replaces it.")


def write(path: Path, text: str, *, replace: bool = False) -> None:
    """Write `text` to a temporary file, then rename it. A replaced file keeps its mode.

    Raises FileExistsError as `check_free` does, and other OSErrors; an old file is then unchanged.
    """
    check_free(path, replace=replace)
    path = Path(os.path.realpath(path))  # a symbolic link is kept, and its target written
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            if path.exists():
                os.chmod(part, stat.S_IMODE(path.stat().st_mode))
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
