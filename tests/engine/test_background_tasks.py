"""Background tasks are started again after a crash, and only then."""

from __future__ import annotations

import asyncio

import pytest

from engine.operations import background_tasks
from engine.operations.background_tasks import BackgroundTasks
from tests.support.patience import WAIT_S


async def test_a_crash_is_logged_and_the_task_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_tasks, "PAUSE_S", 0.001)
    starts = 0
    third = asyncio.Event()

    async def run() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise ValueError("no")
        third.set()
        await asyncio.sleep(3600)

    kept = BackgroundTasks()
    kept.keep("sweeper", run)
    async with asyncio.timeout(WAIT_S):
        await third.wait()
    await kept.end()
    await kept.end()
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert "(sweeper) crashed" in caplog.text


async def test_a_task_that_returns_is_not_started_again() -> None:
    kept = BackgroundTasks()
    task = kept.keep("once", lambda: asyncio.sleep(0))
    async with asyncio.timeout(WAIT_S):
        await task
    await kept.end()


async def test_a_cancelled_task_is_not_started_again() -> None:
    kept = BackgroundTasks()
    task = kept.keep("long", lambda: asyncio.sleep(3600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await kept.end()
