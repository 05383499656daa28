"""Copies of a waiting request: each sender gets the outcome, and they hold up nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from nats.aio.msg import Msg

from storage import replies
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

COPIES = 300
CHAT = "rosey.command.chat"


class Copies:
    """Many copies of one message, each with its own reply subject, and what they get."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.heard: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()

    async def send(self, message: dict[str, Any]) -> None:
        client = self._house.bot.client
        await client.subscribe("_INBOX.copies.*", cb=self._on_msg)
        for number in range(COPIES):
            await client.publish(CHAT, orjson.dumps(message), reply=f"_INBOX.copies.{number}")
        await self._house.bot.flush()

    async def _on_msg(self, msg: Msg) -> None:
        async with self._changed:
            self.heard.append(orjson.loads(msg.data))
            self._changed.notify_all()

    async def until_heard(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.heard) >= count)


async def test_copies_have_a_limit_and_the_others_hear_busy_alone(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    message = {"channel": "#lobby", "username": "alice", "args": ["Hello"], "request_id": "r1"}
    await house.bot.send(CHAT, message)
    await llm.wait_for_requests(1)
    copies = Copies(house)
    await copies.send(message)

    await copies.until_heard(COPIES - replies.LIMIT)
    assert {each["code"] for each in copies.heard} == {"busy"}
    assert {each["request_id"] for each in copies.heard} == {"r1"}
    # Everybody else is answered meanwhile, and hears nothing of it.
    assert (await house.bot.ask("Hello", "#other", request_id="r1"))["type"] == "llm_response"
    assert [each["channel_id"] for each in house.bot.received_outcomes()] == ["#other"]
    (stored,) = house.rows(
        "SELECT count(*) AS count FROM reply r JOIN channel c ON c.id = r.channel_id"
        " WHERE c.name = '#lobby'"
    )
    assert stored["count"] == replies.LIMIT

    hold.set()
    await copies.until_heard(COPIES)
    answered = [each for each in copies.heard if each["type"] == "llm_response"]
    assert len(answered) == replies.LIMIT
    assert [kind for kind, _ in house.history()] == ["message", "answer"]


async def test_after_a_restart_the_stored_subjects_count(house: House, llm: LLMServer) -> None:
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold), Behaviour(hold=hold))
    message = {"channel": "#lobby", "username": "alice", "args": ["Hello"], "request_id": "r1"}
    await house.bot.send(CHAT, message)
    await llm.wait_for_requests(1)
    copies = Copies(house)
    await copies.send(message)
    await copies.until_heard(COPIES - replies.LIMIT)
    house.config["service"] = {"drain_timeout_s": 0.1}
    await house.reload()
    await house.restart()
    await llm.wait_for_requests(2)
    again = Copies(house)
    await again.send(message)
    await again.until_heard(COPIES - replies.LIMIT)
    (stored,) = house.rows("SELECT count(*) AS count FROM reply")
    assert stored["count"] == replies.LIMIT
    hold.set()
    await again.until_heard(COPIES)
