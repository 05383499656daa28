"""Checkpoints beside the commits, in a thread and on a connection of their own."""

from __future__ import annotations

import queue
import sqlite3
import threading
from pathlib import Path

from storage.wal.wal_file import WalFile, checkpoint

ROUNDS = 2  # the second one does what was committed during the first: little is left to the writer


class Checkpointer(threading.Thread):
    """Asked by the writer's thread. `problem` says why the latest checkpoint failed.

    It also syncs the file: a checkpoint that commits overtake does not, and then the writer's own,
    which ends the journal, would wait for all of it.
    """

    def __init__(self, path: Path, wal: WalFile) -> None:
        super().__init__(name="rosey-llm-checkpointer", daemon=True)
        self._path = path
        self._wal = wal
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._resting = threading.Event()
        self._resting.set()
        self.problem: Exception | None = None

    @property
    def resting(self) -> bool:
        """Whether all that was asked has been done."""
        return self._resting.is_set()

    def ask(self) -> None:
        """Bring most of the journal into the file. Raises RuntimeError where that cannot be."""
        if not self.is_alive():
            self.start()
        self._resting.clear()
        self._asked.put(True)

    def wait(self) -> None:
        """Until it rests."""
        self._resting.wait()

    def end(self) -> None:
        """On return, its connection is closed."""
        if self.is_alive():
            self._asked.put(False)
            self.join()

    def run(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._asked.get():
            try:
                connection = connection or sqlite3.connect(self._path, isolation_level=None)
                for _ in range(ROUNDS):
                    checkpoint(connection, "PASSIVE")
                    self._wal.sync_file()
                self.problem = None
            except (sqlite3.Error, OSError) as exc:
                self.problem = exc
            finally:  # whatever happens, the commits must not wait for ever
                self._resting.set()
        if connection is not None:
            connection.close()
