"""A request that is sent again gets its first outcome, also if it would be refused by now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import LLMError, LLMService
from engine.admission.gate import LOOK_UPS_A_MINUTE, LOOK_UPS_A_SECOND, Gate
from engine.commands.observer import TurnObserver
from engine.commands.records import Chat
from engine.commands.request import Request
from engine.config.loading import parse
from providers import ScriptedProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support import scraper
from tests.support.service_calls import Gate as HeldCalls
from tests.support.service_harness import House

CHAT, REQUEST = "rosey.command.chat", "llm.request"
DOORS = {
    CHAT: {"args": "Hi"},
    REQUEST: {"action": "complete", "message": "Hi", "user_id": "U1"},
}


async def send(house: House, door: str, request_id: str, **more: Any) -> dict[str, Any]:
    message = {"channel_id": "#lobby", "username": "alice", "request_id": request_id}
    return await house.bot.call(door, message | DOORS[door] | more)


@pytest.mark.parametrize("door", DOORS)
async def test_an_answered_request_gets_its_outcome_while_a_limit_is_reached(
    house: House, door: str
) -> None:
    house.config["limits"] = {"user_per_hour": 1}
    await house.open()
    first = await send(house, door, "r1")
    assert first["content"]
    assert (await send(house, door, "r2"))["code"] == "limit_reached"
    assert [await send(house, door, "r1") for _ in range(2)] == [first, first]
    await house.restart()
    assert (await send(house, door, "r3"))["content"]
    assert await send(house, door, "r1") == first
    assert (await send(house, door, "r2"))["code"] == "limit_reached"
    assert len(house.history()) == 4
    assert house.app is not None
    _, text, _ = await scraper.get(f"{house.app.http_url}/metrics")
    assert 'rosey_llm_limited_total{limit="user_per_hour",scope="user"} 1.0' in text


async def test_it_gets_it_without_the_role_and_if_its_sender_is_not_heard_any_more(
    house: House,
) -> None:
    await house.open()
    reset, chat = await send(house, CHAT, "r1", args="reset"), await send(house, CHAT, "r2")
    house.config |= {"permissions": {"reset": "admin"}, "access": {"users_deny": ["alice"]}}
    await house.reload()
    assert await send(house, CHAT, "r2") == chat
    refused = await send(house, CHAT, "r3")
    assert (refused["code"], refused["error"]) == ("not_allowed", "")
    # As bob, who is heard, but has no role either.
    assert await send(house, CHAT, "r1", args="reset", username="bob") == reset
    refused = await send(house, CHAT, "r3", args="reset", username="bob")
    assert refused["error"] == "Only admins may reset this conversation."
    heard = await house.bot.outcomes(5)
    assert [each["request_id"] for each in heard] == ["r1", "r2", "r2", "r1", "r3"]


@pytest.mark.parametrize("door", DOORS)
async def test_one_that_still_waits_is_joined(house: House, llm: LLMServer, door: str) -> None:
    house.config["limits"] = {"user_per_hour": 1}
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    first = asyncio.create_task(send(house, door, "r1"))
    await llm.wait_for_requests(1)
    for number in range(LOOK_UPS_A_MINUTE + 1):  # so that nothing more is looked up
        assert (await send(house, door, f"x{number}"))["code"] == "limit_reached"
    again = asyncio.create_task(send(house, door, "r1"))
    # A refusal behind it shows that it was taken.
    assert (await send(house, door, "r3"))["code"] == "limit_reached"
    hold.set()
    assert (await first)["content"]
    assert await again == await first
    assert len(llm.requests) == 1


async def test_many_refused_messages_are_refused_once_each(house: House) -> None:
    house.config["limits"] = {"user_per_hour": 1}
    await house.open()
    await send(house, CHAT, "r1")
    flood = {f"f{number}" for number in range(300)}
    for request_id in flood:
        message = {"channel_id": "#lobby", "username": "alice", "request_id": request_id}
        await house.bot.client.publish(CHAT, orjson.dumps(message | DOORS[CHAT]))
    assert "content" in await send(house, CHAT, "r2", username="bob")
    heard = await house.bot.outcomes(302)
    refused = [each for each in heard if each["type"] == "llm_error"]
    assert {each["code"] for each in refused} == {"limit_reached"}
    assert len(refused) == 300
    assert {each["request_id"] for each in refused} == flood


def request(request_id: str = "r", username: str = "alice", *, given: bool = True) -> Request:
    return Request("#a", request_id, username, Chat("Hi"), has_given_id=given)


def test_only_so_many_refused_messages_are_looked_up(tmp_path: Path) -> None:
    now_s = [1000.0]
    gate = Gate(parse({}, tmp_path), TurnObserver(), lambda: now_s[0])

    def looked_up(count: int, name: str = "alice") -> int:
        return sum(gate.may_look_up(request(username=name)) for _ in range(count))

    assert not gate.may_look_up(request(given=False))
    assert looked_up(30) == LOOK_UPS_A_MINUTE == 10
    assert looked_up(1, "bob") == 1
    now_s[0] += 60.001
    assert looked_up(30) == LOOK_UPS_A_MINUTE
    now_s[0] += 60.001
    names = [f"name {number}" for number in range(1000)]
    assert sum(looked_up(1, name) for name in names) == LOOK_UPS_A_SECOND == 50
    now_s[0] += 1.001
    assert sum(looked_up(1, name) for name in names) == LOOK_UPS_A_SECOND


async def test_a_call_in_process_gets_it_too_and_a_refused_one_ends(tmp_path: Path) -> None:
    tables = {"limits": {"user_per_hour": 1}, "access": {"users_deny": ["bob"]}}
    async with LLMService(ScriptedProvider(), settings=parse(tables, tmp_path)) as service:
        first = await service.chat("Hi", username="alice", request_id="r1")
        assert await service.chat("Hi", username="alice", request_id="r1") == first
        async with service.stream("Hi", username="alice", request_id="r1") as pieces:
            assert "".join([piece async for piece in pieces]) == first.content
        for name, code in (("alice", "limit_reached"), ("bob", "not_allowed")):
            for request_id in ("new", None):
                with pytest.raises(LLMError) as refused:
                    await service.chat("Hi", username=name, request_id=request_id)
                assert refused.value.code == code
        assert await service.chat("Hi", username="bob", request_id="r1") == first


async def test_a_copy_is_joined_if_its_request_is_stored_by_the_same_commit(
    tmp_path: Path,
) -> None:
    held = HeldCalls()
    async with LLMService(ScriptedProvider(script=held), database=tmp_path / "a.db") as service:
        running = asyncio.create_task(service.chat("a", request_id="a"))
        await held.until(1)
        database = service.inspect().engine.database
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait(_: object) -> None:
            asyncio.run_coroutine_threadsafe(_wait(release), loop).result()

        blocked = database.write_soon(wait)
        # A copy of the first, then a new request and its copy: one commit stores all of them, and
        # joins the copies first.
        calls = []
        for text in ("a", "b", "b"):
            calls.append(asyncio.create_task(service.chat(text, "main", request_id=text)))
            for _ in range(10):  # so that it is told
                await asyncio.sleep(0)
        release.set()
        await blocked
        await held.let(2)
        assert [(await call).content for call in calls] == ["re: a", "re: b", "re: b"]
        assert (await running).content == "re: a"
    assert held.calls == ["a", "b"]


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
