"""Runs one SQL statement for many rows, since each statement costs several waits for Python's lock.

Each statement releases the interpreter lock and takes it again several times, which costs more than
the statement itself when the event loop is busy. Statements exist for powers of two rows only, and
the last rows are padding that matches nothing: so there are few, and all stay prepared.
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
    """Return the smallest power of two that is not less than `count`."""
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

    before, after: the SQL around the rows' VALUES.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        self._padding = (None,) * columns
        row = f"({', '.join('?' * columns)})"
        self._statements = {
            size: " ".join((before, _rows(row, size), after)) for size in _sizes(MOST_ROWS)
        }

    def ids(self, connection: sqlite3.Connection, rows: Sequence[Values]) -> range:
        """Insert the rows; return their ids, in order."""
        last_id = 0
        for _, done in self.portions(connection, rows):
            last_id = int(done.lastrowid or 0)
        return range(last_id - len(rows) + 1, last_id + 1)

    def portions(
        self, connection: sqlite3.Connection, rows: Sequence[Values]
    ) -> Iterator[tuple[range, sqlite3.Cursor]]:
        """Insert the rows; yield the numbers of each statement's rows, and its cursor."""
        for begin in range(0, len(rows), MOST_ROWS):
            portion = rows[begin : begin + MOST_ROWS]
            size = _size(len(portion))
            padding = self._padding * (size - len(portion))
            values = (*chain.from_iterable(portion), *padding)
            done = connection.execute(self._statements[size], values)
            yield range(begin, begin + len(portion)), done


class ByIds:
    """A statement for the rows with some ids, which replace `{ids}` at its end."""

    def __init__(self, statement: str) -> None:
        self._statements = {
            size: statement.format(ids=f"({', '.join('?' * size)})") for size in _sizes(MOST_IDS)
        }

    def portions(
        self, connection: sqlite3.Connection, ids: Sequence[int], values: Values = ()
    ) -> Iterator[sqlite3.Cursor]:
        """Yield the cursor of each statement; `values` are the parameters before the ids."""
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
