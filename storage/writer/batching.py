"""Batches the writes of a group by their kind, so that a few statements do many writes.

With a statement for each write, the writer thread would release the interpreter lock several times
for each, and get it back late when the event loop is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from storage import mailboxes, outbox, settlement
from storage.writer.connection import WriterConnection
from storage.writer.write_queue import WriteJob


class BatchKind(NamedTuple):
    """A kind of write that can be batched.

    one: writes a single record, whose fields are its arguments.
    record: builds a record.
    all: writes several records, and returns a result for each.

    Kinds may be done in any order: a turn awaits the commit of each write before the next. A
    request that is sent again while its outcome is being committed gets it either way.
    """

    one: Callable[..., Any]
    record: Callable[..., Any]
    all: Callable[[WriterConnection, Sequence[Any]], Sequence[Any]]


def _each_taken(connection: WriterConnection, row_ids: Sequence[int]) -> list[int]:
    return [mailboxes.take(connection, row_id) for row_id in row_ids]


def _all_published(
    connection: WriterConnection, publications: Sequence[outbox.Publication]
) -> list[None]:
    outbox.published_all(connection, publications)
    return [None] * len(publications)


KINDS = [
    BatchKind(mailboxes.put, mailboxes.AcceptedCommand, mailboxes.put_all),
    BatchKind(mailboxes.take, lambda row_id: row_id, _each_taken),
    BatchKind(mailboxes.settle, settlement.Settlement, mailboxes.settle_all),
    BatchKind(mailboxes.published, outbox.Publication, _all_published),
]


class WriteBatch(NamedTuple):
    """Jobs that are done together: one of any kind, or several of the same kind."""

    jobs: list[WriteJob[Any]]
    kind: BatchKind | None = None

    def do(self, connection: WriterConnection) -> None:
        if self.kind is None or len(self.jobs) == 1:
            for job in self.jobs:
                job.result = job.work(connection)
            return
        works: list[Any] = [job.work for job in self.jobs]
        records = [self.kind.record(*work.args, **work.keywords) for work in works]
        results = self.kind.all(connection, records)
        for job, result in zip(self.jobs, results, strict=True):
            job.result = result


def batches(jobs: Sequence[WriteJob[Any]]) -> list[WriteBatch]:
    """Return batches in the order of the jobs; jobs of one kind join until a job without a kind."""
    found: list[WriteBatch] = []
    open_batches: dict[int, WriteBatch] = {}
    for job in jobs:
        kind = _kind(job)
        if kind is None:
            open_batches.clear()
            found.append(WriteBatch([job]))
        elif (batch := open_batches.get(id(kind))) is not None:
            batch.jobs.append(job)
        else:
            batch = open_batches[id(kind)] = WriteBatch([job], kind)
            found.append(batch)
    return found


def one_by_one(jobs: Sequence[WriteJob[Any]]) -> list[WriteBatch]:
    return [WriteBatch([job]) for job in jobs]


def _kind(job: WriteJob[Any]) -> BatchKind | None:
    if isinstance(job.work, partial):
        for kind in KINDS:
            if job.work.func is kind.one:
                return kind
    return None
