from __future__ import annotations

import asyncio
import gc

import pytest

from engine.answering import abandonable
from engine.answering.abandonable import AbandonableTask, DeadlineExceeded, WorkCancelled


async def stubborn(let_go: asyncio.Event) -> str:
    """Heeds no cancellation."""
    while not let_go.is_set():
        try:
            await let_go.wait()
        except asyncio.CancelledError:
            continue
    return "late"


async def test_what_the_work_gives_or_raises_comes_through() -> None:
    async def fails() -> None:
        raise ValueError("no")

    assert await AbandonableTask(asyncio.sleep(0, "yes"), 60).result() == "yes"
    with pytest.raises(ValueError, match="no"):
        await AbandonableTask(fails(), 60).result()


async def test_a_cut_ends_the_work_and_comes_too_late_once_it_has_ended() -> None:
    fenced = AbandonableTask(asyncio.sleep(60), 60)
    assert fenced.cut()
    with pytest.raises(WorkCancelled):
        await fenced.result()
    assert not fenced.cut()


async def test_the_deadline_ends_the_work() -> None:
    with pytest.raises(DeadlineExceeded):
        await AbandonableTask(asyncio.sleep(60), 0.001).result()


@pytest.mark.parametrize("cut", [True, False])
async def test_work_that_heeds_nothing_is_left_behind(
    cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandonable, "GRACE_S", 0.001)
    let_go = asyncio.Event()
    fenced = AbandonableTask(stubborn(let_go), 60 if cut else 0.001)
    await asyncio.sleep(0)
    if cut:
        fenced.cut()
    with pytest.raises(WorkCancelled if cut else DeadlineExceeded):
        await fenced.result()
    let_go.set()


async def test_who_cuts_again_and_again_does_not_keep_the_work_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(abandonable, "GRACE_S", 0.01)
    let_go = asyncio.Event()
    fenced = AbandonableTask(stubborn(let_go), 60)
    result = asyncio.create_task(fenced.result())
    async with asyncio.timeout(20):
        while not result.done():
            await asyncio.sleep(0)
            fenced.cut()
    with pytest.raises(WorkCancelled):
        await result
    let_go.set()


async def test_the_callers_own_cancellation_ends_the_work_and_is_not_swallowed() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(AbandonableTask(work(), 60).result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        await ended.wait()


async def test_work_that_fails_as_its_caller_is_cancelled_is_not_said_to_be_unheard_of() -> None:
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        raise ValueError("no")

    task = asyncio.create_task(AbandonableTask(work(), 60).result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go_on.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    del task
    gc.collect()
    assert said == []
