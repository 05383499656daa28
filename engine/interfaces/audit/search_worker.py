"""The search index at work: one thread that searches and, in between, brings the index on."""

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
    """`behind`: about how many rows the index does not know yet; it is brought on meanwhile."""

    hits: list[Hit]
    behind: int


class SearchWorker:
    """Searches one database. Its thread ends with the process: it writes nothing but the cache."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rosey-llm-finder")
        self._kept: SearchIndex | None = None
        self._feeding = False

    async def find(
        self, match: str, selection: Selection, limit: int, *, best: bool
    ) -> SearchResult:
        """Raises StorageUnavailable, TookTooLong."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._find, match, selection, limit, best)

    # What follows runs in the thread.

    def _find(self, match: str, selection: Selection, limit: int, best: bool) -> SearchResult:
        with self._opened() as index:
            _feed(index)
            behind = index.behind
            if behind and not self._feeding:
                self._feeding = True
                self._thread.submit(self._go_on)
            with time_limit(index.connection, SEARCHING_S):
                return SearchResult(search(index, match, selection, limit, best=best), behind)

    def _go_on(self) -> None:
        """A step at a time, so that a search never waits for long."""
        try:
            with self._opened() as index:
                self._feeding = _feed(index) and index.behind > 0
            if self._feeding:
                self._thread.submit(self._go_on)
        except StorageUnavailable as exc:
            self._feeding = False
            log.warning("%s", exc)
        except RuntimeError:
            self._feeding = False  # the process ends, and takes nothing more

    @contextmanager
    def _opened(self) -> Iterator[SearchIndex]:
        """Anew each time, since others may have made the file anew; one in memory is kept."""
        index = self._kept or open_to_search(self._database)
        try:
            yield index
        finally:
            if index.in_memory:
                self._kept = index
            else:
                index.close()


def _feed(index: SearchIndex) -> bool:
    """For FEEDING_S, at least once; whether there was anything."""
    deadline = time.monotonic() + FEEDING_S
    fed = False
    while index.feed(BATCH_ROWS):
        fed = True
        if time.monotonic() > deadline:
            break
    return fed
