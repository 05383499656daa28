"""`retry_after_s` of a refused message follows what turns really take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.actors.local_ledger import LocalLedger
from engine.actors.supervisor import Supervisor
from engine.actors.wait_estimate import FIRST_GUESS_S, JITTER, LONGEST_S, WaitEstimate
from engine.commands.outcomes import Answer, Delta, Failure
from engine.commands.records import Chat
from engine.commands.request import Request
from engine.config.loading import parse
from engine.engine import Engine
from engine.errors import Busy
from providers import ScriptedProvider
from providers.base import Message, Options
from storage import replies
from storage.outbox import Settled
from storage.writer.database import Database
from tests.support.patience import WAIT_S


class MadeUpClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def estimate(clock: MadeUpClock | None = None, chance: float = 0.0) -> WaitEstimate:
    return WaitEstimate(clock or MadeUpClock(), lambda: chance)


# --- The figure


def test_the_figure_is_what_the_commands_ahead_take_at_the_pace_of_the_channel() -> None:
    waits = estimate()
    own_s = waits.turn_took(0.2, None)
    assert waits.for_channel(32, own_s, 0.0) == 6.4
    assert waits.for_channel(32, None, 0.0) == 6.4  # a channel without turns: that of all
    slow_s = waits.turn_took(4.0, None)
    assert waits.for_channel(3, slow_s, 0.0) == 12.0
    assert waits.for_channel(32, own_s, 0.0) == 6.4  # another channel's turns change nothing


def test_the_average_follows_the_newest_turns() -> None:
    waits, own_s = estimate(), None
    for _ in range(30):
        own_s = waits.turn_took(1.0, own_s)
    for _ in range(30):
        own_s = waits.turn_took(3.0, own_s)
    assert own_s == pytest.approx(3.0, abs=0.01)


def test_a_turn_that_runs_longer_than_those_before_it_counts() -> None:
    waits = estimate()
    assert waits.for_channel(4, 0.5, running_s=7.0) == 28.0
    assert waits.for_channel(4, None, running_s=0.0) == 4 * FIRST_GUESS_S


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_figure_is_bounded_and_spread(chance: float) -> None:
    waits = estimate(chance=chance)
    assert waits.told(10.0) == pytest.approx(10 * (1 + JITTER * chance), abs=0.051)
    assert 1 <= waits.told(0.001) <= 1 + JITTER
    assert LONGEST_S / (1 + JITTER) <= waits.told(1e9) <= LONGEST_S
    assert waits.spread(60.0) >= 60.0  # a suspension is never told shorter than it is


def test_the_engines_figure_is_how_fast_commands_end_while_there_are_any() -> None:
    clock = MadeUpClock()
    waits = estimate(clock)
    assert waits.for_engine(1000) == 5.0  # nothing is known
    for _ in range(3):
        clock.now_s += 3600.0  # idle
        waits.work_began()
        clock.now_s += 0.02
        waits.command_ended()
    assert waits.for_engine(1000) == 20.0
    clock.now_s += 0.03  # the next one takes longer
    assert waits.for_engine(1000) == 30.0


# --- The engine


class Outcomes:
    """A sink that counts outcomes."""

    def __init__(self) -> None:
        self.published = 0

    def publish(self, _: Settled) -> None:
        self.published += 1

    def refuse(self, failure: Failure, _: tuple[str, ...]) -> None: ...
    def inform(self, answer: Answer, _: tuple[str, ...]) -> None: ...
    def refuse_privately(self, failure: Failure, _: tuple[str, ...]) -> None: ...
    def refuse_copy(self, failure: Failure, _: tuple[str, ...]) -> None: ...
    def delta(self, delta: Delta) -> bool:
        return True


class Stage:
    """An engine in which a turn takes 0.25 s of a made-up clock; `hold` keeps turns from ending."""

    def __init__(self, folder: Path, **channels: Any) -> None:
        self.clock = MadeUpClock()
        self.go = asyncio.Event()
        self.go.set()
        self.sink = Outcomes()
        database = Database(None)
        self.engine = Engine(
            database,
            LocalLedger(database),
            [ScriptedProvider(script=self._script)],
            parse({"channels": channels}, folder),
            self.sink,
            waits=estimate(self.clock),
        )
        self._number = 0

    async def _script(self, _: Sequence[Message], __: Options) -> AsyncIterator[str]:
        await self.go.wait()
        self.clock.now_s += 0.25
        yield "Hi"

    @property
    def supervisor(self) -> Supervisor:
        return self.engine.supervisor

    def tell(self, channel: str, request_id: str = "") -> None:
        self._number += 1
        request_id = request_id or f"r{self._number}"
        self.supervisor.tell(Request(channel, request_id, f"user {self._number}", Chat("Hello")))

    async def turns(self, channel: str, count: int) -> None:
        for _ in range(count):
            before = self.supervisor.statistics().commands
            self.tell(channel)
            async with asyncio.timeout(WAIT_S):
                while self.supervisor.statistics().commands > before:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path, mailbox_limit=32, commands_limit=40)
    await stage.engine.start()
    await stage.engine.resume()
    yield stage
    stage.go.set()
    await stage.engine.drain()
    await stage.engine.aclose()


async def test_a_full_mailbox_tells_what_its_turns_take(stage: Stage) -> None:
    await stage.turns("#lobby", 3)
    stage.go.clear()
    for _ in range(33):
        stage.tell("#lobby")
    with pytest.raises(Busy) as refused:
        stage.tell("#lobby")
    assert (refused.value.ahead, refused.value.retry_after_s) == (32, 8.0)
    stage.clock.now_s += 0.5  # the running turn is a slow one
    with pytest.raises(Busy) as refused:
        stage.tell("#lobby")
    assert refused.value.retry_after_s == 16.0


async def test_a_full_engine_tells_how_fast_commands_end(stage: Stage) -> None:
    await stage.turns("#lobby", 3)
    stage.go.clear()
    for number in range(40):
        stage.tell(f"#{number}")
    with pytest.raises(Busy, match="The service is busy: 40") as refused:
        stage.tell("#lobby")
    assert refused.value.retry_after_s == 10.0


async def test_a_copy_too_many_is_told_when_the_outcome_may_come(stage: Stage) -> None:
    await stage.turns("#lobby", 3)
    stage.go.clear()
    for number in range(12):
        stage.tell("#lobby", f"m{number}")
    for _ in range(replies.LIMIT):
        stage.tell("#lobby", "m5")
    with pytest.raises(Busy, match="waits already") as refused:
        stage.tell("#lobby", "m5")
    assert refused.value.retry_after_s == 3.0
