"""Writes of one group that are done in one go.

A statement for each of them would give the interpreter's lock away several times for each, and get
it back late where the event loop is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from storage import mailboxes, outbox, settlement
from storage.writer.connection import WriterConnection
from storage.writer.write_queue import WriteJob


class BatchKind(NamedTuple):
    """`one` writes one `record` of it, whose fields are its arguments; `all` writes several.

    None of these kinds has to be done before another: what a turn asks for next waits for the
    commit of what it asked for before. A request that is sent again while its outcome is being
    committed hears of it either way.
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
    """Jobs that are done at once: one of any kind, or several of the same."""

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
    """In the order of the jobs, but those of our kinds gather until one comes that is of none."""
    found: list[WriteBatch] = []
    open_steps: dict[int, WriteBatch] = {}
    for job in jobs:
        kind = _kind(job)
        if kind is None:
            open_steps.clear()
            found.append(WriteBatch([job]))
        elif (step := open_steps.get(id(kind))) is not None:
            step.jobs.append(job)
        else:
            step = open_steps[id(kind)] = WriteBatch([job], kind)
            found.append(step)
    return found


def one_by_one(jobs: Sequence[WriteJob[Any]]) -> list[WriteBatch]:
    return [WriteBatch([job]) for job in jobs]


def _kind(job: WriteJob[Any]) -> BatchKind | None:
    if isinstance(job.work, partial):
        for kind in KINDS:
            if job.work.func is kind.one:
                return kind
    return None
