"""Tests of writes that are not urgent: they save a commit of their own if another write comes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from storage.writer.write_queue import LEISURE_S, WriteJob, WriteQueue
from tests.properties.clock import Clock, VirtualLoop

Life = Callable[[], Coroutine[Any, Any, None]]


def _urgent(connection: sqlite3.Connection) -> None: ...


def _at_leisure(connection: sqlite3.Connection) -> None: ...


class Writes:
    """A queue of writes on a virtual clock.

    groups: what was handed over together, "u" for an urgent write and "l" for one at leisure.
    """

    def __init__(self) -> None:
        self._clock = Clock()
        self._loop = VirtualLoop(self._clock, self._take)
        self._queue = WriteQueue()
        self.groups: list[tuple[Any, str]] = []

    def live(self, life: Life, seconds: float = 1000.0) -> None:
        self._loop.create_task(life())
        self._loop.run_until_idle(seconds)

    def close(self) -> None:
        self._loop.close()

    def end(self) -> None:
        self._queue.end()
        self._take()

    def urgent(self) -> None:
        self._queue.put(WriteJob(_urgent, self._loop.create_future()))

    def at_leisure(self) -> None:
        self._queue.put_at_leisure(WriteJob(_at_leisure, self._loop.create_future()))

    def _take(self) -> bool:
        group = self._queue.next_group(timeout_s=0)
        if not group:
            return False
        kinds = "".join("l" if job.work is _at_leisure else "u" for job in group)
        self.groups.append((round(self._clock.now_s - 1000.0, 6), kinds))
        return True


@pytest.fixture
def writes() -> Iterator[Writes]:
    writes = Writes()
    yield writes
    writes.close()


async def _turns(writes: Writes, pause_s: float, number: int = 1000) -> None:
    """Let turns of one bot follow each other: accepted, settled 50 ms later, published."""
    for _ in range(number):
        writes.urgent()
        await asyncio.sleep(0.05)
        writes.urgent()
        await asyncio.sleep(0.001)
        writes.at_leisure()
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("pause_s", [0.02, 0.15, 1.9])
def test_marks_take_no_commit_of_their_own_while_turns_follow_each_other(
    writes: Writes, pause_s: float
) -> None:
    async def life() -> None:
        await _turns(writes, pause_s)

    writes.live(life, 10_000)
    kinds = [kinds for _, kinds in writes.groups]
    assert kinds.count("l") == 1  # after the last turn
    assert len(kinds) == 2001
    assert sum(each.count("l") for each in kinds) == 1000


def test_marks_without_a_neighbour_wait_two_seconds_after_the_first_of_them(
    writes: Writes,
) -> None:
    async def life() -> None:
        writes.at_leisure()
        await asyncio.sleep(1)
        writes.at_leisure()
        await asyncio.sleep(10)
        writes.at_leisure()

    writes.live(life)
    assert LEISURE_S == 2.0
    assert writes.groups == [(2.0, "ll"), (13.0, "l")]


def test_marks_behind_a_neighbour_have_two_seconds_of_their_own(writes: Writes) -> None:
    async def life() -> None:
        writes.at_leisure()
        await asyncio.sleep(1.5)
        writes.urgent()
        await asyncio.sleep(0.1)
        writes.at_leisure()

    writes.live(life)
    assert writes.groups == [(1.5, "lu"), (3.6, "l")]


def test_marks_go_at_once_when_the_queue_ends(writes: Writes) -> None:
    async def life() -> None:
        writes.at_leisure()

    writes.live(life, 0.5)
    writes.end()
    assert writes.groups == [(0.5, "l")]
