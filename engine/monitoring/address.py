"""The file beside the database in which a running service notes the address of its HTTP pages."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from storage.sidecar import sidecar_path


def file(database: Path) -> Path:
    """Return the path of the address file."""
    return sidecar_path(database, ".http")


def write(database: Path, url: str) -> None:
    """Write the address, readable by the same user only. Raises OSError."""
    path = file(database)
    path.unlink(missing_ok=True)  # an old file could belong to another user
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        target.write(url + "\n")


def read(database: Path) -> str | None:
    """Return the address; None if there is no file. A killed service leaves its file behind.

    Raises PermissionError if only another user may read the file.
    """
    try:
        return file(database).read_text(encoding="ascii").strip() or None
    except PermissionError:
        raise
    except (OSError, ValueError):
        return None


def remove(database: Path, url: str) -> None:
    """Remove the file, unless another service has written its own address meanwhile."""
    with contextlib.suppress(OSError):
        if read(database) == url:
            file(database).unlink()
