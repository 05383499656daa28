"""Keeps the search index up to date in the background.

It uses its own thread of low priority and its own connections, never the writer's, and pauses most
of the time even if many rows are to be indexed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from pathlib import Path

from storage import search_index
from storage.errors import IndexDamaged, StorageUnavailable

log = logging.getLogger("rosey_llm.indexer")
POLL_S = 5.0
AFTER_FAILURE_S = 60.0
BATCH_ROWS = 200
PAUSE_FACTOR = 4  # seconds of pause for each second of work
LEAST_PAUSE_S = 0.05
NICENESS = 10
JOIN_TIMEOUT_S = 5.0


class SearchIndexer:
    """A thread that indexes new rows of `database` every `poll_s`, from `start` to `aclose`.

    Repeated failures are logged once.
    """

    def __init__(self, database: Path, poll_s: float = POLL_S) -> None:
        self._poll_s = poll_s
        self._database = database
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="rosey-llm-indexer", daemon=True)
        self._thread.start()

    async def aclose(self) -> None:
        """Wait until the current batch is done. May be called twice, and without `start`.

        If another process holds the file's lock, the thread is left to end with this process.
        """
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, JOIN_TIMEOUT_S)

    # The methods below run in the thread.

    def _run(self) -> None:
        if sys.platform == "linux":  # on Linux each thread has its own niceness
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        pause_s = self._poll_s
        while not self._stopping.wait(pause_s):
            pause_s = self._poll_s if self._catch_up() else AFTER_FAILURE_S

    def _catch_up(self) -> bool:
        """Index new rows; return whether that succeeded.

        The index is opened each time, since an erasure may have deleted it meanwhile.
        """
        try:
            with search_index.open_index(self._database) as index:
                while not self._stopping.is_set():
                    began = time.monotonic()
                    if not index.feed(BATCH_ROWS):
                        break
                    self._stopping.wait(
                        max(LEAST_PAUSE_S, PAUSE_FACTOR * (time.monotonic() - began))
                    )
        except IndexDamaged as exc:
            search_index.remove(self._database)
            log.warning(
                "The search index was deleted and will be rebuilt: %(error)s",
                {"event": "index.deleted", "error": exc},
            )
            return False
        except StorageUnavailable as exc:
            if not self._failing:
                why = str(exc).removesuffix(".")
                log.warning(
                    "%(error)s. Indexing will be tried again; only the search depends on it.",
                    {"event": "index.failed", "error": why},
                )
            self._failing = True
            return False
        self._failing = False
        return True
