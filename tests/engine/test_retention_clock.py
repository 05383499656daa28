"""Retention with a wrong clock erases nothing until the operator confirms the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.clock import DAY_MS
from engine.config.settings import StorageSettings
from engine.operations import retention
from engine.operations.erasure import Eraser
from engine.operations.retention import Retention
from storage.writer.database import Database
from tests.support.archive import Archive
from tests.support.clocks import Clocks
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

YEAR = StorageSettings(retention_days=365)
WEEK = StorageSettings(retention_days=7)


class Run:
    """A process with retention, on a database that stays."""

    def __init__(self, path: Path, clocks: Clocks) -> None:
        self.path = path
        self.clocks = clocks
        self.settings = YEAR
        self.database = Database(path)
        self.eraser = Eraser(self.database)

    async def start(self) -> None:
        await self.database.open()
        self.retention = Retention(
            self.database,
            self.eraser,
            lambda: self.settings,
            wall_ms=lambda: self.clocks.wall_ms,
            monotonic_s=lambda: self.clocks.monotonic_s,
        )

    async def restart(self) -> None:
        await self.aclose()
        self.database = Database(self.path)
        self.eraser = Eraser(self.database)
        self.clocks.monotonic_s = 1.0
        await self.start()

    async def aclose(self) -> None:
        await self.eraser.aclose()
        await self.database.close()

    def say(self, text: str) -> None:
        with closing(Archive(self.path)) as archive:
            archive.say(text, "", ts_ms=self.clocks.wall_ms)

    async def erased(self) -> bool:
        """Sweep; return whether a message was erased."""
        await self.retention.sweep()
        with closing(Archive(self.path)) as archive:
            count = "SELECT count(*) FROM history WHERE erased_ms IS NOT NULL"
            return bool(archive.connection.execute(count).fetchone()[0])


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    run = Run(tmp_path / "rosey-llm.db", Clocks())
    run.say("old")
    await run.start()
    yield run
    await run.aclose()


async def test_time_that_passed_erases(run: Run) -> None:
    for _ in range(61):
        assert not await run.erased()
        run.clocks.pass_days(6)
    assert await run.erased()
    assert run.retention.held == ""


async def test_a_start_with_a_clock_far_ahead_erases_nothing(run: Run) -> None:
    run.clocks.leap(400)
    assert not await run.erased()
    assert "400 days past" in run.retention.held
    # What is written now has the wrong time, and must not make it look right, also not later.
    run.say("with the wrong time")
    assert not await run.erased()
    await run.restart()
    assert not await run.erased()
    assert run.retention.held


async def test_a_leap_while_it_runs_erases_nothing(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await run.erased()
    run.clocks.leap(400)
    for _ in range(3):
        assert not await run.erased()
    lines = [each.getMessage() for each in caplog.records if "retention confirm" in each.message]
    assert len(lines) == 1, lines  # once
    run.clocks.leap(-400)
    assert not await run.erased()
    assert run.retention.held == ""


async def test_a_week_is_no_leap_but_what_was_just_written_stays(run: Run) -> None:
    run.settings = WEEK
    assert not await run.erased()
    run.say("just now")
    run.clocks.leap(6.9)
    run.clocks.pass_days(0.2)
    with closing(Archive(run.path)) as archive:
        archive.connection.execute("UPDATE sweep SET wall_ms = ?", (run.clocks.wall_ms,))
    assert await run.erased()
    with closing(Archive(run.path)) as archive:
        assert [text for _, text in archive.contents() if text] == ["just now"]
    run.clocks.pass_days(7)
    await run.retention.sweep()
    with closing(Archive(run.path)) as archive:
        assert [text for _, text in archive.contents() if text] == []


async def test_confirmed_it_goes_on_once(run: Run) -> None:
    run.clocks.leap(400)
    assert not await run.erased()
    assert await run.retention.sweep(confirmed=True)
    assert run.retention.held == ""
    assert await run.erased()
    run.clocks.leap(400)
    await run.retention.sweep()
    assert run.retention.held


async def test_a_long_stop_asks_for_a_confirmation(run: Run) -> None:
    assert not await run.erased()
    run.clocks.leap(10)
    await run.restart()
    assert not await run.erased()
    assert "10 days past" in run.retention.held


async def test_without_days_nothing_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.settings = StorageSettings()
    run.clocks.leap(400)
    await run.retention.sweep()
    assert not caplog.records


@pytest.mark.process
async def test_the_command_confirms(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "POLL_S", 0.05)
    path = house.folder / "data" / "rosey-llm.db"
    path.parent.mkdir()
    with closing(Archive(path)) as archive:
        archive.say("old", "", ts_ms=time.time_ns() // 1_000_000 - 400 * DAY_MS)
    house.config["storage"] = {"retention_days": 365}
    house.file.write_text('[storage]\nretention_days = 365\n[nats]\nurl = "nats://127.0.0.1:1"\n')
    command = (COMMAND, "retention", "confirm", "--config", str(house.file))

    async def confirm() -> str:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(WAIT_S):
            printed, _ = await process.communicate()
        assert process.returncode == 0
        return printed.decode()

    assert "its next start erases" in await confirm()
    await house.open()
    assert house.app is not None
    async with asyncio.timeout(WAIT_S):
        while ("message", "old") in house.history():  # noqa: ASYNC110 - another task writes
            await asyncio.sleep(0.05)
    assert "0 expired rows" in await confirm()
