"""The writer's connection, with a cache of the channels' ids and newest rows.

The cache includes what the open transaction wrote, so it is cleared if that is rolled back, or if
another connection has written. Cached values never change otherwise.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from typing import Any, Generic, NamedTuple, TypeVar

LIMIT = 4096
K = TypeVar("K")
V = TypeVar("V")


class Head(NamedTuple):
    """A channel's newest row in the history, which the next one follows."""

    seq: int
    digest: bytes


class Recent(Generic[K, V]):
    """A mapping that keeps the LIMIT entries that were used last."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > LIMIT:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


class KnownChannels:
    """A cache: channels' ids by their names, and their heads by their ids."""

    def __init__(self) -> None:
        self.ids: Recent[str, int] = Recent()
        self.heads: Recent[int, Head] = Recent()

    def forget(self) -> None:
        self.ids.clear()
        self.heads.clear()


class WriterConnection(sqlite3.Connection):
    """The writer's connection; its cache is cleared if a transaction fails."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = KnownChannels()
        self._version = 0

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")
        (version,) = self.execute("PRAGMA data_version").fetchone()
        if version != self._version:  # another connection has written since
            self._version = version
            self.known.forget()

    def roll_back(self) -> None:
        self.known.forget()
        # If the disk is full, SQLite has rolled back already.
        if self.in_transaction:
            self.execute("ROLLBACK")


def known(connection: sqlite3.Connection) -> KnownChannels:
    """Return the cache of a writer's connection; an empty one for any other connection."""
    return connection.known if isinstance(connection, WriterConnection) else KnownChannels()
