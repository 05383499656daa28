"""What the writer knows of the channels without asking: it has read or written it itself.

It is true of the open transaction, too, and so it must not outlive one that is rolled back. The
rows behind it are never removed, and never changed in what is known of them.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from typing import Any, Generic, NamedTuple, TypeVar

LIMIT = 4096
K = TypeVar("K")
V = TypeVar("V")


class Head(NamedTuple):
    """A channel's newest row in the history: what its next one follows."""

    seq: int
    digest: bytes


class Recent(Generic[K, V]):
    """The LIMIT entries that were used last."""

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
    """Channels' ids by their names, and their heads by their ids."""

    def __init__(self) -> None:
        self.ids: Recent[str, int] = Recent()
        self.heads: Recent[int, Head] = Recent()

    def forget(self) -> None:
        self.ids.clear()
        self.heads.clear()


class WriterConnection(sqlite3.Connection):
    """The writer's connection. What it knows is forgotten with each transaction that fails."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = KnownChannels()
        self._version = 0

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")
        (version,) = self.execute("PRAGMA data_version").fetchone()
        if version != self._version:  # somebody else has written since
            self._version = version
            self.known.forget()

    def roll_back(self) -> None:
        self.known.forget()
        # SQLite has done it already where the disk is full.
        if self.in_transaction:
            self.execute("ROLLBACK")


def known(connection: sqlite3.Connection) -> KnownChannels:
    """Nothing, where the connection is any other one."""
    return connection.known if isinstance(connection, WriterConnection) else KnownChannels()
