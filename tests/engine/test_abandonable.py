from __future__ import annotations

import asyncio
import gc

import pytest

from engine.answering import abandonable
from engine.answering.abandonable import AbandonableTask, DeadlineExceeded, WorkCancelled
from tests.support.patience import WAIT_S


async def stubborn(let_go: asyncio.Event) -> str:
    """Ignore every cancellation until `let_go` is set."""
    while not let_go.is_set():
        try:
            await let_go.wait()
        except asyncio.CancelledError:
            continue
    return "late"


async def test_the_works_result_or_exception_is_passed_on() -> None:
    async def fails() -> None:
        raise ValueError("no")

    assert await AbandonableTask(asyncio.sleep(0, "yes"), 60).result() == "yes"
    with pytest.raises(ValueError, match="no"):
        await AbandonableTask(fails(), 60).result()


async def test_a_cut_ends_the_work_and_is_refused_once_it_has_ended() -> None:
    task = AbandonableTask(asyncio.sleep(60), 60)
    assert task.cut()
    with pytest.raises(WorkCancelled):
        await task.result()
    assert not task.cut()


async def test_the_deadline_ends_the_work() -> None:
    with pytest.raises(DeadlineExceeded):
        await AbandonableTask(asyncio.sleep(60), 0.001).result()


@pytest.mark.parametrize("cut", [True, False])
async def test_work_that_ignores_its_cancellation_is_abandoned(
    cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandonable, "GRACE_S", 0.001)
    let_go = asyncio.Event()
    task = AbandonableTask(stubborn(let_go), 60 if cut else 0.001)
    await asyncio.sleep(0)
    if cut:
        task.cut()
    with pytest.raises(WorkCancelled if cut else DeadlineExceeded):
        await task.result()
    let_go.set()


async def test_repeated_cuts_do_not_keep_the_work_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(abandonable, "GRACE_S", 0.01)
    let_go = asyncio.Event()
    task = AbandonableTask(stubborn(let_go), 60)
    result = asyncio.create_task(task.result())
    async with asyncio.timeout(WAIT_S):
        while not result.done():
            await asyncio.sleep(0)
            task.cut()
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
    async with asyncio.timeout(WAIT_S):
        await ended.wait()


async def test_an_exception_of_work_whose_caller_was_cancelled_is_not_reported_as_unretrieved() -> (
    None
):
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
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
    assert reported == []
