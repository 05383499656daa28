"""Statements about many rows at a time.

Each statement gives the interpreter's lock away and takes it back several times, which costs more
than the statement itself where the event loop is busy. Their sizes are powers of two: so few, that
all of them stay prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain

MOST_ROWS = 64
MOST_IDS = 512
NO_ID = -1
Values = tuple[object, ...]


def _sizes(most: int) -> list[int]:
    return [1 << power for power in range(most.bit_length())]


class Insert:
    """An INSERT of any number of rows; `before` and `after` stand around the rows' VALUES."""

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._statements = {
            size: f"{before} VALUES {', '.join([row] * size)}{after}" for size in _sizes(MOST_ROWS)
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
        begin = 0
        while left := len(rows) - begin:
            size = min(1 << left.bit_length() - 1, MOST_ROWS)
            portion = range(begin, begin + size)
            values = tuple(chain.from_iterable(rows[begin : begin + size]))
            yield portion, connection.execute(self._statements[size], values)
            begin += size


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
            size = 1 << (len(portion) - 1).bit_length()
            padding = [NO_ID] * (size - len(portion))
            yield connection.execute(self._statements[size], (*values, *portion, *padding))

    def execute(
        self, connection: sqlite3.Connection, ids: Sequence[int], values: Values = ()
    ) -> None:
        for _ in self.portions(connection, ids, values):
            pass
