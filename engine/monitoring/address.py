"""Where a running service says where its health and metrics are: a file beside its database."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from storage.sidecar import sidecar_path


def file(database: Path) -> Path:
    return sidecar_path(database, ".http")


def write(database: Path, url: str) -> None:
    """For the eyes of the same user only. Raises OSError."""
    path = file(database)
    path.unlink(missing_ok=True)  # whoever may have made it, the new one is ours
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        target.write(url + "\n")


def read(database: Path) -> str | None:
    """None where no service has said it. One that was killed leaves its file behind.

    Raises PermissionError where only another user may know.
    """
    try:
        return file(database).read_text(encoding="ascii").strip() or None
    except PermissionError:
        raise
    except (OSError, ValueError):
        return None


def remove(database: Path, url: str) -> None:
    """Unless another service has said by now where it is."""
    with contextlib.suppress(OSError):
        if read(database) == url:
            file(database).unlink()
