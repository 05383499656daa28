"""Erases rows in the search index, then rewrites the file so that no text is left in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from storage import search_index
from storage.errors import IndexDamaged
from storage.search_index import SearchIndex

T = TypeVar("T")


class IndexErasure:
    """The search index of `database`, opened when it is needed, in its own thread.

    database: None in memory; then there is no index and the methods do nothing.
    All methods raise StorageUnavailable if the index is in use.
    """

    def __init__(self, database: Path | None) -> None:
        self._database = database
        self._index: SearchIndex | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def is_open(self) -> bool:
        """Whether rows were removed whose text may still be in the file."""
        return self._index is not None

    async def forget(self, rows: list[tuple[int, str]]) -> None:
        """Remove rows (id, content); to be called before the history loses their text."""
        if (database := self._database) is not None:
            await self._in_thread(lambda: self._forget(database, rows))

    async def clean(self) -> None:
        """Rewrite the index if rows were removed from it."""
        if self._index is not None:
            await self._in_thread(self._scrub)

    async def throw_away(self) -> None:
        """Delete the whole index; the next search builds a new one."""
        if (database := self._database) is not None:
            await self._in_thread(lambda: self._throw_away(database))

    async def aclose(self) -> None:
        if self._thread is not None:
            await self._in_thread(self._close)
            self._thread.shutdown()
            self._thread = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "rosey-llm-search")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _forget(self, database: Path, rows: list[tuple[int, str]]) -> None:
        try:
            self._opened(database).forget(rows)
        except IndexDamaged:
            self._throw_away(database)
            self._opened(database).forget(rows)

    def _opened(self, database: Path) -> SearchIndex:
        if self._index is None:
            self._index = search_index.open_index(database)
        return self._index

    def _scrub(self) -> None:
        if self._index is not None:
            self._index.scrub()
            self._close()

    def _throw_away(self, database: Path) -> None:
        self._close()
        search_index.remove(database)

    def _close(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            index.close()
