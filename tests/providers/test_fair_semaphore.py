import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from providers.chain.fair_semaphore import FairSemaphore, FairSemaphoreStatistics


class Bench:
    """A set of calls that each take a slot and keep it until the test ends them."""

    def __init__(self, limit: int) -> None:
        self.slots = FairSemaphore(limit)
        self.order: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def call(self, name: str) -> None:
        await self.slots.take(name[0])
        self.order.append(name)
        self.running[name] = asyncio.Event()
        try:
            await self.running[name].wait()
        finally:
            del self.running[name]
            self.slots.free()

    async def ask(self, *names: str) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self.call(name))
            await settled()

    async def finish(self, name: str) -> None:
        self.running[name].set()
        await self.tasks[name]
        await settled()

    async def finish_all(self) -> None:
        for _ in range(len(self.tasks) + 1):
            for name in list(self.running):
                await self.finish(name)

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.wait([self.tasks[name]])
        await settled()


async def settled() -> None:
    """Let every task run; none here needs more steps than this."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_calls_run_at_once_than_there_are_slots() -> None:
    bench = Bench(2)
    await bench.ask("a1", "b1", "c1", "d1")
    assert sorted(bench.running) == ["a1", "b1"]
    assert bench.slots.statistics() == FairSemaphoreStatistics(limit=2, running=2, waiting=2)
    await bench.finish_all()
    assert bench.slots.statistics() == FairSemaphoreStatistics(limit=2, running=0, waiting=0)


async def test_within_a_channel_the_first_call_gets_the_first_slot() -> None:
    bench = Bench(1)
    names = [f"a{number}" for number in range(9)]
    await bench.ask(*names)
    await bench.finish_all()
    assert bench.order == names


async def test_one_channel_with_many_calls_does_not_hold_up_another() -> None:
    bench = Bench(1)
    await bench.ask(*(f"a{number}" for number in range(100)), "b0", "c0", "b1")
    await bench.finish_all()
    assert bench.order[:7] == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]
    assert len(bench.order) == 103


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    bench = Bench(1)
    await bench.ask("a1", "b1", "b2", "c1")
    await bench.cancel("b1")
    await bench.cancel("c1")
    assert bench.slots.statistics() == FairSemaphoreStatistics(1, 1, 1)
    await bench.finish_all()
    assert bench.order == ["a1", "b2"]


async def test_a_cancelled_call_passes_its_slot_on() -> None:
    bench = Bench(1)
    await bench.ask("a1", "b1")
    await bench.cancel("a1")
    assert list(bench.running) == ["b1"]
    await bench.finish_all()
    assert bench.slots.statistics() == FairSemaphoreStatistics(1, 0, 0)


async def test_a_slot_granted_at_the_moment_of_the_cancellation_goes_to_the_next() -> None:
    bench = Bench(1)
    await bench.slots.take("a")
    await bench.ask("b1", "c1")
    bench.slots.free()
    bench.tasks["b1"].cancel()
    await settled()
    assert bench.order == ["c1"]
    await bench.finish_all()
    assert bench.slots.statistics() == FairSemaphoreStatistics(1, 0, 0)


async def test_a_slot_freed_just_after_the_cancellation_goes_to_the_next() -> None:
    bench = Bench(1)
    await bench.ask("a1", "b1", "c1")
    bench.tasks["b1"].cancel()
    bench.running["a1"].set()
    await settled()
    assert bench.order == ["a1", "c1"]
    await bench.finish_all()
    assert bench.slots.statistics() == FairSemaphoreStatistics(1, 0, 0)


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_no_slot_is_lost_and_none_is_idle(seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(chance.randint(1, 4))
    limit = bench.slots.statistics().limit
    alive: set[str] = set()

    def ask() -> None:
        name = f"{chance.choice('abcd')}{len(bench.tasks)}"
        bench.tasks[name] = asyncio.create_task(bench.call(name))

    def cancel() -> None:
        if alive:
            bench.tasks[chance.choice(sorted(alive))].cancel()

    def let_go() -> None:
        if bench.running:
            bench.running[chance.choice(sorted(bench.running))].set()

    steps: list[Callable[[], None]] = [ask, ask, ask, cancel, let_go, let_go]
    for _ in range(150):
        chance.choice(steps)()
        if chance.random() < 0.6:
            await asyncio.sleep(0)
        alive = {name for name, task in bench.tasks.items() if not task.done()}
        assert len(bench.running) <= limit
        if chance.random() < 0.2:
            await settled()
            statistics = bench.slots.statistics()
            assert statistics.running == len(bench.running)
            assert statistics.running == limit or statistics.waiting == 0
    for _ in range(len(bench.tasks) + 1):
        for event in bench.running.values():
            event.set()
        await settled()
    await asyncio.wait(bench.tasks.values())
    assert bench.slots.statistics() == FairSemaphoreStatistics(limit, 0, 0)
    assert max(Counter(bench.order).values(), default=1) == 1


async def test_more_slots_go_to_the_waiting_channels_in_turn() -> None:
    bench = Bench(1)
    await bench.ask("a1", "a2", "a3", "b1")
    bench.slots.resize(3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(bench.running) == ["a1", "a2", "b1"]
    await bench.finish_all()
    assert bench.slots.statistics() == FairSemaphoreStatistics(3, 0, 0)


async def test_with_fewer_slots_running_calls_end_before_the_next_one_begins() -> None:
    bench = Bench(3)
    await bench.ask("a1", "b1", "c1", "d1")
    bench.slots.resize(1)
    for name in ("a1", "b1"):
        bench.running[name].set()
        await bench.tasks[name]
    assert bench.slots.statistics() == FairSemaphoreStatistics(limit=1, running=1, waiting=1)
    await bench.finish_all()
    assert bench.slots.statistics() == FairSemaphoreStatistics(1, 0, 0)
