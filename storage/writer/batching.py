"""Batches the records of a group by their type, so that a few statements do many writes.

With a statement for each write, the writer thread would release the interpreter lock several times
for each, and get it back late when the event loop is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from storage.writer.connection import WriterConnection
from storage.writer.write_queue import Write, WriteJob

ApplyAll = Callable[[WriterConnection, Sequence[Any]], Sequence[Any]]


class WriteBatch(NamedTuple):
    """Jobs that are done together: one function of the connection, or records of one type."""

    jobs: list[WriteJob[Any]]
    apply_all: ApplyAll | None = None

    def do(self, connection: WriterConnection) -> None:
        if self.apply_all is None:
            for job in self.jobs:
                job.result = cast(Write[Any], job.work)(connection)
            return
        results = self.apply_all(connection, [job.work for job in self.jobs])
        for job, result in zip(self.jobs, results, strict=True):
            job.result = result


def batches(jobs: Sequence[WriteJob[Any]]) -> list[WriteBatch]:
    """Return batches in the order of the jobs; records of a type join until a job is a function."""
    found: list[WriteBatch] = []
    open_batches: dict[type, WriteBatch] = {}
    for job in jobs:
        kind = type(job.work)
        if (batch := open_batches.get(kind)) is not None:
            batch.jobs.append(job)
            continue
        batch = WriteBatch([job], _apply_all(job))
        if batch.apply_all is None:
            open_batches.clear()
        else:
            open_batches[kind] = batch
        found.append(batch)
    return found


def one_by_one(jobs: Sequence[WriteJob[Any]]) -> list[WriteBatch]:
    return [WriteBatch([job], _apply_all(job)) for job in jobs]


def _apply_all(job: WriteJob[Any]) -> ApplyAll | None:
    return getattr(job.work, "apply_all", None)
