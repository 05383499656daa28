"""The message contract, states: where a request is."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from nats.aio.subscription import Subscription

from tests.fakes.llm_server import Behaviour
from tests.support.patience import WAIT_S
from tests.support.service_harness import House


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


@pytest.fixture
async def states(house: House) -> Subscription:
    states = await house.bot.client.subscribe("llm.status")
    await house.bot.flush()
    return states


async def heard(states: Subscription, count: int) -> list[dict[str, Any]]:
    return [orjson.loads((await states.next_msg(WAIT_S)).data) for _ in range(count)]


def told(request_id: str, state: str, **more: Any) -> dict[str, Any]:
    ids = {"channel_id": "#lobby", "request_id": request_id, "username": "alice"}
    return {"type": "llm_status"} | ids | {"state": state} | more


async def test_a_request_that_asks_hears_where_it_is(house: House, states: Subscription) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("running", request_id="r0", status=True)
    await house.llm.wait_for_requests(1)
    await house.bot.chat("silent", request_id="r1")
    await house.bot.chat("waiting", request_id="r2", status=True)
    assert await heard(states, 3) == [
        told("r0", "queued", ahead=0),
        told("r0", "started"),
        told("r2", "queued", ahead=2),
    ]
    hold.set()
    assert await heard(states, 3) == [
        told("r0", "ended"),
        told("r2", "started"),
        told("r2", "ended"),
    ]


@pytest.mark.parametrize("action", ["complete", "reset"])
async def test_every_kind_of_request_may_ask(
    house: House, states: Subscription, action: str
) -> None:
    more = {} if action == "reset" else {"message": "Hi"}
    await house.bot.request(action=action, username="alice", request_id="r", status=True, **more)
    assert [each["state"] for each in await heard(states, 3)] == ["queued", "started", "ended"]


async def test_a_stopped_answer_has_ended(house: House, states: Subscription) -> None:
    house.llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("go", request_id="r", status=True)
    await house.bot.deltas(1)
    await house.bot.ask("stop", status=True)
    assert [each["state"] for each in await heard(states, 3)] == ["queued", "started", "ended"]
    await house.bot.ask("help", request_id="h", status=True)
    assert [each["request_id"] for each in await heard(states, 3)] == ["h", "h", "h"]


async def test_a_status_that_is_no_truth_value_is_refused(house: House) -> None:
    error = await house.bot.ask("Hi", status="yes")
    assert (error["code"], error["error"][:7]) == ("invalid_request", "status:")
