"""A thread that searches for the audit page and updates the search index between searches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageUnavailable
from storage.queries.search import Hit, search
from storage.queries.selection import Selection
from storage.queries.time_limit import time_limit
from storage.search_index import SearchIndex, open_to_search

BATCH_ROWS = 5_000
FEEDING_S = 1.0
SEARCHING_S = 4.0

log = logging.getLogger("rosey_llm.audit")


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, and `behind`: about how many rows are not yet in the index."""

    hits: list[Hit]
    behind: int


class SearchWorker:
    """A searcher of one database, with a thread that lives as long as the process.

    The thread may be cut off at any time: it writes only the index, which can be built again.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rosey-llm-finder")
        self._in_memory: SearchIndex | None = None
        self._feeding = False

    async def find(
        self, match: str, selection: Selection, limit: int, *, best: bool
    ) -> SearchResult:
        """Search in the thread. Raises StorageUnavailable, TookTooLong."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._find, match, selection, limit, best)

    # The methods below run in the thread.

    def _find(self, match: str, selection: Selection, limit: int, best: bool) -> SearchResult:
        with self._opened() as index:
            _feed(index)
            behind = index.behind
            if behind and not self._feeding:
                self._feeding = True
                self._thread.submit(self._update)
            with time_limit(index.connection, SEARCHING_S):
                return SearchResult(search(index, match, selection, limit, best=best), behind)

    def _update(self) -> None:
        """Update the index one step at a time, so that a search never waits for long."""
        try:
            with self._opened() as index:
                self._feeding = _feed(index) and index.behind > 0
            if self._feeding:
                self._thread.submit(self._update)
        except StorageUnavailable as exc:
            self._feeding = False
            log.warning("%(error)s", {"event": "audit.index_failed", "error": exc})
        except RuntimeError:
            self._feeding = False  # the process is exiting; the executor is closed

    @contextmanager
    def _opened(self) -> Iterator[SearchIndex]:
        """Open the index file again: another process may have replaced it. Keep one in memory."""
        index = self._in_memory or open_to_search(self._database)
        try:
            yield index
        finally:
            if index.in_memory:
                self._in_memory = index
            else:
                index.close()


def _feed(index: SearchIndex) -> bool:
    """Index rows for FEEDING_S, at least one batch. Return whether there were any."""
    deadline = time.monotonic() + FEEDING_S
    fed = False
    while index.feed(BATCH_ROWS):
        fed = True
        if time.monotonic() > deadline:
            break
    return fed
