"""The writer thread: the only thread that uses the writer's connection."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, cast

from storage.errors import StorageUnavailable
from storage.wal.checkpoint_schedule import CheckpointSchedule
from storage.writer.connection import WriterConnection
from storage.writer.group_commit import GroupCommit
from storage.writer.write_queue import Write, WriteJob, WriteQueue

log = logging.getLogger("rosey_llm.storage")


class WriterThread(threading.Thread):
    """A thread that hands groups of `jobs` to `commits` until they end, and resolves their futures.

    opened: resolved once the database is open; gets the error if it cannot be opened.
    on_end: called in the thread, last of all.
    """

    def __init__(
        self,
        opening: AbstractContextManager[tuple[WriterConnection, CheckpointSchedule | None]],
        jobs: WriteQueue,
        commits: GroupCommit,
        opened: asyncio.Future[None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(name="rosey-llm-writer", daemon=True)
        self._opening = opening
        self._jobs = jobs
        self._commits = commits
        self._opened = opened
        self._on_end = on_end
        self._loop = opened.get_loop()

    def run(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._on_end)
            try:
                connection, checkpoints = stack.enter_context(self._opening)
            except Exception as exc:  # noqa: BLE001 - the thread's edge: `opened` must end
                stack.close()
                self._call_in_loop(_resolve_opened, self._opened, exc)
                return
            self._call_in_loop(_resolve_opened, self._opened, None)
            self._work(connection, checkpoints)

    def _work(self, connection: WriterConnection, checkpoints: CheckpointSchedule | None) -> None:
        patience_s: float | None = None
        while (group := self._jobs.next_group(patience_s)) is not None:
            self._commits.make(connection, [job for job in group if not job.alone])
            if alone := [job for job in group if job.alone]:
                if checkpoints is not None:
                    checkpoints.wait()
                _run_alone(connection, alone)
            if group:
                self._call_in_loop(_resolve, group)
            if checkpoints is not None:
                checkpoints.after_commit() if group else checkpoints.idle()
                patience_s = checkpoints.patience_s()

    def _call_in_loop(self, call: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            log.debug(
                "The event loop has ended before the writer thread.",
                {"event": "storage.loop_ended"},
            )


def _run_alone(connection: WriterConnection, jobs: Sequence[WriteJob[Any]]) -> None:
    """Run jobs that cannot run within a transaction."""
    for job in jobs:
        try:
            job.result = cast(Write[Any], job.work)(connection)
        except sqlite3.Error as exc:
            job.error = StorageUnavailable(f"Cannot clean up the database: {exc}")


def _resolve_opened(opened: asyncio.Future[None], error: Exception | None) -> None:
    if opened.done():  # its caller was cancelled
        return
    if error is not None:
        opened.set_exception(error)
    else:
        opened.set_result(None)


def _resolve(group: Sequence[WriteJob[Any]]) -> None:
    for job in group:
        if job.done.done():  # its caller was cancelled
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)
