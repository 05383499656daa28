"""A new file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path


def check_free(path: Path, *, replace: bool) -> None:
    """FileExistsError where a file may not be written: it is there, or it is no plain file."""
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is not a plain file.")
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists already; --force replaces it.")


def write(path: Path, text: str, *, replace: bool = False) -> None:
    """Write `text`, and only then give it its name. A replaced file keeps its mode.

    OSError leaves what was there. Besides those of the system, FileExistsError as `check_free`.
    """
    check_free(path, replace=replace)
    path = Path(os.path.realpath(path))  # behind a symbolic link, which stays
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
