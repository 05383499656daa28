"""A time limit for queries: one that takes too long is interrupted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import StorageUnavailable

INSTRUCTIONS_BETWEEN_CHECKS = 1000


class TookTooLong(Exception):
    """The query was interrupted."""


@contextmanager
def time_limit(connection: sqlite3.Connection, limit_s: float) -> Iterator[None]:
    """Raise TookTooLong if the statements in the block take longer, all together."""
    deadline = time.monotonic() + limit_s
    connection.set_progress_handler(
        lambda: time.monotonic() > deadline, INSTRUCTIONS_BETWEEN_CHECKS
    )
    try:
        yield
    except (sqlite3.OperationalError, StorageUnavailable) as exc:
        if sqlite3.SQLITE_INTERRUPT not in (_code(exc), _code(exc.__cause__)):
            raise
        raise TookTooLong(f"This takes longer than {limit_s:g} seconds.") from exc
    finally:
        connection.set_progress_handler(None, 0)


def _code(exc: BaseException | None) -> int | None:
    return getattr(exc, "sqlite_errorcode", None)
