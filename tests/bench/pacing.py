"""The loops of load, with nothing but Python: how questions are sent, whatever they are sent over.

Each loop is given `ask`: it asks in a channel, and returns after the answer whether it was a
refusal for now. It raises an error if the answer is missing or wrong, which ends the measurement;
so does a refusal, except in an open loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from tests.bench import machine
from tests.bench.figures import percentile

Ask = Callable[[str], Awaitable[bool]]
LONGEST_SLICE = 20  # times the planned seconds; a machine that needs longer is too slow
TAIL_LIMIT_S = 30.0
VISIT_LIMIT_S = 300.0


async def visit(ask: Ask, *, channels: Sequence[str], at_once: int) -> dict[str, Any]:
    """Ask once in each channel, `at_once` at the same time: how long each took."""
    left, taken_us, began = iter(channels), list[int](), perf_counter()

    async def speak() -> None:
        for channel in left:
            asked = perf_counter()
            assert not await ask(channel), f"{channel} was refused"
            taken_us.append(round((perf_counter() - asked) * 1e6))

    async with asyncio.timeout(VISIT_LIMIT_S), asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(speak())
    return {"seconds": perf_counter() - began, "taken_us": taken_us}


async def closed_loop(
    ask: Ask,
    *,
    channels: int,
    at_once: int,
    seconds: float,
    pids: Mapping[str, int],
    rounds: int = 2,
) -> dict[str, Any]:
    """Keep `at_once` questions open: each answer triggers the next question.

    It counts from when the first questions were all answered, so the start is not in the figures,
    to the end of a whole round of `at_once` answers: a group commit answers many at the same time,
    and the wait for a group belongs into the figure only with that group. rounds: at least so many.

    cpu_us: processor time per answer of `pids["asked"]`, with its threads and children.
    busy: the share of one core that each of the other processes used.
    """
    resting = deque(f"loop-{number}" for number in range(channels))
    at_once = min(at_once, channels)
    taken_s, answered, began = list[float](), 0, perf_counter()
    marks: list[tuple[float, dict[str, float]]] = []  # the first and the last moment that count

    async def speak() -> None:
        nonlocal answered
        while len(marks) < 2:
            channel, asked = resting.popleft(), perf_counter()
            assert not await ask(channel), f"{channel} was refused"
            now = perf_counter()
            resting.append(channel)
            if len(marks) == 2:
                return
            answered += 1
            if answered > at_once:
                taken_s.append(now - asked)
            done, more = divmod(answered, at_once)
            is_last = not more and done >= rounds and now - began >= seconds
            if answered == at_once or is_last:
                marks.append((now, {name: machine.cpu_s(pid) for name, pid in pids.items()}))

    async with asyncio.timeout(seconds * LONGEST_SLICE + TAIL_LIMIT_S):
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(speak())
    (first, first_cpu_s), (last, last_cpu_s) = marks
    busy = {name: (last_cpu_s[name] - first_cpu_s[name]) / (last - first) for name in pids}
    rate = len(taken_s) / (last - first)
    return {
        "answers_a_second": rate,
        "p50_ms": percentile(taken_s, 50) * 1000,
        "p99_ms": percentile(taken_s, 99) * 1000,
        "cpu_us": busy.pop("asked") / rate * 1e6,
        "busy": busy,
    }


async def open_loop(
    ask: Ask,
    *,
    channels: int,
    rate: float,
    seconds: float,
    seed: int,
    counted_from_s: float = 0.0,
) -> dict[str, Any]:
    """Ask `rate` times a second, whatever comes back. Each answer's time counts from when its
    question was due; those a second, from `counted_from_s` to the end of the schedule."""
    taken_ms: dict[bool, list[float]] = {False: [], True: []}  # by `busy`
    counted, began = Counter[bool](), perf_counter()

    async def speak(channel: str, due: float) -> None:
        busy, now = await ask(channel), perf_counter()
        taken_ms[busy].append((now - due) * 1000)
        counted[busy] += counted_from_s <= now - began < seconds

    async with asyncio.timeout(seconds + TAIL_LIMIT_S), asyncio.TaskGroup() as group:

        def start(number: int, due: float) -> None:
            group.create_task(speak(f"open-{number % channels}", due))

        late_ms = await keep_pace(schedule(rate, seconds, seed), start)
    answered, busy = taken_ms[False], taken_ms[True]
    return {
        "answered": len(answered),
        "busy": len(busy),
        "answered_a_second": counted[False] / (seconds - counted_from_s),
        "busy_a_second": counted[True] / (seconds - counted_from_s),
        "p50_ms": percentile(answered, 50),
        "p99_ms": percentile(answered, 99),
        "busy_p50_ms": percentile(busy, 50),
        "busy_p99_ms": percentile(busy, 99),
        "late_p99_ms": percentile(late_ms, 99),
    }


LOOPS: dict[str, Callable[..., Awaitable[dict[str, Any]]]]
LOOPS = {"visit": visit, "closed": closed_loop, "open": open_loop}


class Sender(ABC):
    """A process that sends load; its question `loop` runs one of the loops above."""

    @abstractmethod
    def ask(self, how: Mapping[str, Any]) -> Ask:
        """Return the `ask` of a loop. how: from the question."""

    async def loop(self, *, kind: str, how: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return await LOOPS[kind](self.ask(how), **more)


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Return seconds from the start: one random moment in each interval of `1 / rate`.

    Even intervals would keep the same phase to other timers, which count in milliseconds.
    """
    chance = random.Random(seed)
    return [(number + chance.random()) / rate for number in range(round(rate * seconds))]


async def keep_pace(moments: Sequence[float], act: Callable[[int, float], None]) -> list[float]:
    """Call `act(number, due)` in the event loop at each moment; return how late, in milliseconds.

    A thread waits for the moments: it keeps them to a tenth of a millisecond, which an event loop's
    timers cannot do. due: by perf_counter, also of a call that comes late.
    """
    loop, late_ms, began = asyncio.get_running_loop(), list[float](), perf_counter()

    def call(number: int, due: float) -> None:
        late_ms.append((perf_counter() - due) * 1000)
        act(number, due)

    def wait() -> None:
        for number, moment in enumerate(moments):
            due = began + moment
            time.sleep(max(0.0, due - perf_counter()))
            loop.call_soon_threadsafe(call, number, due)

    await asyncio.to_thread(wait)
    return late_ms
