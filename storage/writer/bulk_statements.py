"""Statements about many rows at a time.

Each statement gives the interpreter's lock away and takes it back several times, which costs more
than the statement itself where the event loop is busy. Their sizes are powers of two, and what is
short of one is filled up: they are so few that all of them stay prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain

MOST_ROWS = 64
MOST_IDS = 512
NO_ID = -1
Values = tuple[object, ...]


def _size(count: int) -> int:
    """The power of two that has room for so many."""
    return 1 << (count - 1).bit_length()


def _sizes(most: int) -> list[int]:
    return [1 << power for power in range(most.bit_length())]


def _rows(row: str, count: int) -> str:
    if count == 1:
        return f"VALUES {row}"
    rows = ", ".join([row] * count)
    return f"SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"  # noqa: S608 - no values


class Insert:
    """An INSERT of any number of rows, whose first value is not NULL.

    `before` and `after` stand around the rows' VALUES.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        self._padding = (None,) * columns
        row = f"({', '.join('?' * columns)})"
        self._statements = {
            size: " ".join((before, _rows(row, size), after)) for size in _sizes(MOST_ROWS)
        }

    def ids(self, connection: sqlite3.Connection, rows: Sequence[Values]) -> range:
        """The ids that SQLite has given to the rows, in their order."""
        last_id = 0
        for _, done in self.portions(connection, rows):
            last_id = int(done.lastrowid or 0)
        return range(last_id - len(rows) + 1, last_id + 1)

    def portions(
        self, connection: sqlite3.Connection, rows: Sequence[Values]
    ) -> Iterator[tuple[range, sqlite3.Cursor]]:
        """Put them in; which of the rows each statement was about."""
        for begin in range(0, len(rows), MOST_ROWS):
            portion = rows[begin : begin + MOST_ROWS]
            size = _size(len(portion))
            padding = self._padding * (size - len(portion))
            values = (*chain.from_iterable(portion), *padding)
            done = connection.execute(self._statements[size], values)
            yield range(begin, begin + len(portion)), done


class ByIds:
    """A statement about the rows with some ids; `{ids}`, at its end, stands for them."""

    def __init__(self, statement: str) -> None:
        self._statements = {
            size: statement.format(ids=f"({', '.join('?' * size)})") for size in _sizes(MOST_IDS)
        }

    def portions(
        self, connection: sqlite3.Connection, ids: Sequence[int], values: Values = ()
    ) -> Iterator[sqlite3.Cursor]:
        """What each statement gives; `values` stand before the ids."""
        for begin in range(0, len(ids), MOST_IDS):
            portion = ids[begin : begin + MOST_IDS]
            size = _size(len(portion))
            padding = [NO_ID] * (size - len(portion))
            yield connection.execute(self._statements[size], (*values, *portion, *padding))

    def execute(
        self, connection: sqlite3.Connection, ids: Sequence[int], values: Values = ()
    ) -> None:
        for _ in self.portions(connection, ids, values):
            pass
