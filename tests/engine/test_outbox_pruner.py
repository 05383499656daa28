"""A wrong clock deletes no stored outcome early, so that no request is answered twice."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.config.settings import StorageSettings
from engine.operations.outbox_pruner import OutboxPruner
from storage import sweeps
from storage.mailboxes import Accepted
from storage.writer.database import Database
from tests.support import command_writes
from tests.support.clocks import Clocks


class Run:
    """A process that stores outcomes and prunes them, on a database that stays."""

    def __init__(self, path: Path) -> None:
        self.clocks = Clocks()
        self.settings = StorageSettings(dedupe_days=2)
        self._path = path
        self.database = Database(path)

    async def start(self) -> None:
        await self.database.open()
        self._pruner = OutboxPruner(
            self.database,
            lambda: self.settings,
            wall_ms=lambda: self.clocks.wall_ms,
            monotonic_s=lambda: self.clocks.monotonic_s,
        )

    async def restart(self) -> None:
        await self.database.close()
        self.database = Database(self._path)
        self.clocks.monotonic_s = 1.0
        await self.start()

    async def answer(self, request_id: str) -> None:
        """Store an outcome that was published."""

        def write(connection: sqlite3.Connection) -> None:
            now_ms = self.clocks.wall_ms
            put = command_writes.put(connection, "#lobby", request_id, "alice", b"{}", (), now_ms)
            assert isinstance(put, Accepted)
            settled = command_writes.settle(
                connection, put.id, "#lobby", request_id, (), "response", b"{}", now_ms
            )
            assert settled is not None
            command_writes.published(connection, [settled.id], now_ms)

        await self.database.write(write)

    async def sweep(self) -> None:
        """Note the time in the database, as retention does each hour."""
        wall_ms = self.clocks.wall_ms
        await self.database.write(lambda connection: sweeps.note(connection, wall_ms))

    async def kept(self) -> list[str]:
        """Prune; return the requests whose outcomes are still stored."""
        await self._pruner.prune()
        select = "SELECT request_id FROM outbox ORDER BY id"
        found = await self.database.write(lambda connection: connection.execute(select).fetchall())
        return [request_id for (request_id,) in found]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    run = Run(tmp_path / "rosey-llm.db")
    await run.start()
    await run.sweep()
    yield run
    await run.database.close()


async def test_an_outcome_goes_after_its_days(run: Run) -> None:
    await run.answer("a")
    assert await run.kept() == ["a"]
    run.clocks.pass_days(1.9)
    await run.answer("b")
    assert await run.kept() == ["a", "b"]
    run.clocks.pass_days(0.2)
    assert await run.kept() == ["b"]
    run.clocks.pass_days(2)
    assert await run.kept() == []


@pytest.mark.parametrize("days", [3, 400])
async def test_a_leap_of_the_clock_deletes_no_outcome_that_was_just_stored(
    run: Run, days: int
) -> None:
    assert await run.kept() == []
    await run.answer("a")
    run.clocks.pass_days(0.01)  # the process looks at the ages of rows now and then only
    run.clocks.leap(days)
    assert await run.kept() == ["a"]
    run.clocks.pass_days(1.9)
    assert await run.kept() == ["a"]
    run.clocks.pass_days(0.2)
    assert await run.kept() == []


@pytest.mark.parametrize("days", [3, 400])
async def test_a_start_with_a_clock_ahead_keeps_the_outcomes_until_it_has_run_for_their_days(
    run: Run, days: int
) -> None:
    await run.answer("a")
    await run.restart()
    run.clocks.leap(days)
    assert await run.kept() == ["a"]
    await run.sweep()  # with the wrong time
    assert await run.kept() == ["a"]
    run.clocks.pass_days(1.9)
    assert await run.kept() == ["a"]
    run.clocks.pass_days(0.2)
    assert await run.kept() == []


async def test_a_leap_while_it_runs_keeps_the_outcomes_from_before_the_start(run: Run) -> None:
    await run.answer("a")
    await run.restart()
    assert await run.kept() == ["a"]
    run.clocks.leap(3)
    assert await run.kept() == ["a"]


async def test_a_restart_each_day_does_not_keep_outcomes_for_ever(run: Run) -> None:
    await run.answer("a")
    for _ in range(3):
        run.clocks.pass_days(0.9)
        await run.sweep()
        await run.restart()
        kept = await run.kept()
    assert kept == []


async def test_ids_that_begin_again_are_new(run: Run) -> None:
    for number in range(3):
        await run.answer(f"a{number}")
    assert len(await run.kept()) == 3
    run.clocks.pass_days(2.1)
    assert await run.kept() == []
    run.clocks.pass_days(1)
    assert await run.kept() == []
    await run.answer("b")
    run.clocks.leap(3)
    assert await run.kept() == ["b"]


async def test_zero_days_delete_an_outcome_at_once(run: Run) -> None:
    run.settings = StorageSettings(dedupe_days=0)
    await run.answer("a")
    run.clocks.pass_days(0.001)
    assert await run.kept() == []
