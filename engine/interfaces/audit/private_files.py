"""Files that only their owner can read, while the audit page runs: its key, and a way to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import CannotStart


@contextmanager
def leading_page(address: str) -> Iterator[str]:
    """Keep a private page that leads a browser to the address; yield where it is.

    Every account can see the arguments of a process, so no browser gets the token by these.
    """
    with TemporaryDirectory(prefix="rosey-llm-audit-") as folder:
        file = Path(folder) / "audit.html"
        page = f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(address)}">'
        with private_file(file, page):
            yield file.as_uri()


@contextmanager
def private_file(path: Path | None, text: str) -> Iterator[None]:
    """During the block, keep a file that only its owner can read. Raise CannotStart."""
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise CannotStart(
            f"Cannot write {path}: {exc.strerror}. Remove it, or name another file."
        ) from exc
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
