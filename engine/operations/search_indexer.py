"""Keeps the search index up to date while there is nothing else to do.

In a thread of its own, with connections of its own and below everybody else's priority. It never
uses the writer's connection, and rests for most of the time even where much is to be done.
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
RESTS = 4  # for each second of work
LEAST_REST_S = 0.05
NICENESS = 10
LEAVE_WITHIN_S = 5.0


class SearchIndexer:
    """Feeds the index of `database` from `start` to `aclose`, looking for more each `poll_s`.

    A failure is logged once.
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
        """Returns once the batch in hand is done. May be called twice, and without `start`.

        Where somebody else holds the file's lock, the thread is left to end with the process.
        """
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, LEAVE_WITHIN_S)

    # What follows runs in the thread.

    def _run(self) -> None:
        if sys.platform == "linux":  # there, a thread has a niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        pause_s = self._poll_s
        while not self._stopping.wait(pause_s):
            pause_s = self._poll_s if self._catch_up() else AFTER_FAILURE_S

    def _catch_up(self) -> bool:
        """Feed what is new; whether that went well. The index is opened anew each time.

        So it does not matter whether somebody has thrown it away meanwhile.
        """
        try:
            with search_index.open_index(self._database) as index:
                while not self._stopping.is_set():
                    began = time.monotonic()
                    if not index.feed(BATCH_ROWS):
                        break
                    self._stopping.wait(max(LEAST_REST_S, RESTS * (time.monotonic() - began)))
        except IndexDamaged as exc:
            search_index.remove(self._database)
            log.warning("The search index is built again: %s", exc)
            return False
        except StorageUnavailable as exc:
            if not self._failing:
                why = str(exc).removesuffix(".")
                log.warning("%s. It is tried again; nothing else depends on it.", why)
            self._failing = True
            return False
        self._failing = False
        return True
