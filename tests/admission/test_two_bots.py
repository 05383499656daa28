"""Two bots that answer everything, each other too: the service ends it, with any setting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from engine.admission import access
from engine.client.client import Client
from engine.commands.outcomes import Answer
from engine.commands.sender import Sender
from engine.errors import LLMError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

CHANNEL = "#lobby"
ENDLESS = 60
Ask = Callable[[Client, str, Sender], Awaitable[Answer]]
# Each of the two doors on NATS, for one of the bots.
DOORS: dict[str, Ask] = {
    "alpha": lambda rosey, text, sender: rosey.command(text, CHANNEL, sender=sender),
    "beta": lambda rosey, text, sender: rosey.chat(text, CHANNEL, sender=sender),
}


class Room:
    """A room of a platform that marks its bots: each line is heard by all others.

    lines: (who, text) of all that was said. It is endless if there are too many.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._ears: dict[str, asyncio.Queue[tuple[str, str]]] = {}
        self._unheard = 0
        self._changed = asyncio.Event()

    def enter(self, who: str) -> asyncio.Queue[tuple[str, str]]:
        return self._ears.setdefault(who, asyncio.Queue())

    def say(self, who: str, text: str) -> None:
        self.lines.append((who, text))
        self._changed.set()
        if len(self.lines) < ENDLESS:
            for name, ear in self._ears.items():
                if name != who:
                    self._unheard += 1
                    ear.put_nowait((who, text))

    def heard(self) -> None:
        """Note that a bot has done all that a line makes it do."""
        self._unheard -= 1
        self._changed.set()

    async def silence(self) -> None:
        """Wait until nobody has anything more to say."""
        async with asyncio.timeout(WAIT_S):
            while self._unheard:
                self._changed.clear()
                await self._changed.wait()

    def said_by(self, who: str) -> int:
        return sum(speaker == who for speaker, _ in self.lines)


async def answer_everything(room: Room, name: str, rosey: Client) -> None:
    """Be a bot that says whatever the service tells it, errors too, and knows nothing of loops."""
    ear = room.enter(name)
    while True:
        who, text = await ear.get()
        try:
            told = (await DOORS[name](rosey, text, Sender(who, is_bot=who in DOORS))).content
        except LLMError as exc:
            told = str(exc)
        if told:
            room.say(name, told)
        room.heard()


@asynccontextmanager
async def two_bots(house: House) -> AsyncIterator[Room]:
    room = Room()
    async with AsyncExitStack() as stack:
        work = []
        for name in DOORS:
            room.enter(name)
            rosey = await stack.enter_async_context(Client(house.url))
            work.append(asyncio.create_task(answer_everything(room, name, rosey)))
        try:
            yield room
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_token_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, the minute is not over."""
    monkeypatch.setattr(access, "BOT_PERIOD_S", 86_400.0)


async def test_bots_that_are_not_answered_say_nothing_to_each_other(house: House) -> None:
    await house.open()
    async with two_bots(house) as room:
        room.say("alice", "Hi")
        await room.silence()
        assert [room.said_by(name) for name in DOORS] == [1, 1]
    assert len(house.llm.prompts) == 2


@pytest.mark.parametrize("fails", [False, True], ids=["answers", "errors"])
async def test_bots_that_are_answered_stop_by_themselves(
    house: House, llm: LLMServer, fails: bool
) -> None:
    house.config["access"] = {"answer_bots": True}
    await house.open()
    if fails:  # what a failed turn says is an answer to them, too
        llm.plan(*(Behaviour(status=400) for _ in range(ENDLESS)))
    async with two_bots(house) as room:
        room.say("alice", "Hi")
        await room.silence()
        # To alice, and to three lines of the other one.
        assert [room.said_by(name) for name in DOORS] == [4, 4]
        room.say("alice", "And now?")
        await room.silence()
        assert [room.said_by(name) for name in DOORS] == [5, 5]


@pytest.mark.parametrize(
    "config",
    [
        {"limits": {"user_per_minute": 1}},
        {"access": {"answer_bots": True, "users_deny": ["alpha", "beta"]}},
        {"access": {"answer_bots": True, "users_deny": ["alpha", "beta"], "answer_denied": True}},
    ],
)
async def test_a_refusal_is_nothing_that_the_other_bot_could_answer(
    house: House, config: dict[str, Any]
) -> None:
    house.config |= {"access": {"answer_bots": True}} | config
    await house.open()
    async with two_bots(house) as room:
        room.say("alice", "Hi")
        await room.silence()
        assert len(room.lines) <= 1 + 2 * 2
