"""The checkpointer: a thread that makes checkpoints beside the commits, on its own connection."""

from __future__ import annotations

import queue
import sqlite3
import threading
from pathlib import Path

from storage.wal.wal_file import WalFile, checkpoint

ROUNDS = 2  # the second copies what was committed during the first: little is left for the writer


class Checkpointer(threading.Thread):
    """A thread that copies the WAL into the database file when the writer thread requests it.

    It also syncs the file: SQLite does not if commits were made meanwhile, and then the writer's
    own checkpoint, which restarts the WAL, would wait for all of the sync.

    problem: why the latest checkpoint failed; None if it succeeded.
    """

    def __init__(self, path: Path, wal: WalFile) -> None:
        super().__init__(name="rosey-llm-checkpointer", daemon=True)
        self._path = path
        self._wal = wal
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self.problem: Exception | None = None

    @property
    def is_idle(self) -> bool:
        """Whether all requested checkpoints were made."""
        return self._idle.is_set()

    def request(self) -> None:
        """Request a checkpoint. Raises RuntimeError if the thread cannot be started."""
        if not self.is_alive():
            self.start()
        self._idle.clear()
        self._requests.put(True)

    def wait(self) -> None:
        """Wait until it is idle."""
        self._idle.wait()

    def end(self) -> None:
        """End the thread; on return, its connection is closed."""
        if self.is_alive():
            self._requests.put(False)
            self.join()

    def run(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._requests.get():
            try:
                connection = connection or sqlite3.connect(self._path, isolation_level=None)
                for _ in range(ROUNDS):
                    checkpoint(connection, "PASSIVE")
                    self._wal.sync_database()
                self.problem = None
            except (sqlite3.Error, OSError) as exc:
                self.problem = exc
            finally:  # whatever happens, the commits must not wait for ever
                self._idle.set()
        if connection is not None:
            connection.close()
