"""The circuit breaker, through the service over NATS: whom it keeps from a provider, how long."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.patience import WAIT_S
from tests.support.service_harness import House, ReceivedMessage, rests_for_long

BROKEN = Behaviour(status=500, body={"error": {"message": "the server failed"}})


async def ask(house: House, channel: str, *, stream: bool) -> ReceivedMessage:
    request = {"action": "chat", "channel_id": channel, "message": "Hello", "stream": stream}
    return await house.bot.call("llm.request", request)


async def opened(house: House) -> None:
    """Let calls of two channels fail until the circuit opens."""
    house.llm.plan(*[BROKEN] * 5)
    for number in range(5):
        assert "500" in (await house.bot.ask("Hello", f"#{number % 2}"))["error"]
    refused = await house.bot.ask("Hello", "#0")
    assert refused["code"] == "provider_unavailable"
    assert "OpenAI is not available; trying again in 3600 s" in refused["error"]
    assert 3600 <= refused["retry_after_s"] <= 3600 * 1.25


@pytest.mark.parametrize("stream", [True, False])
async def test_a_channel_whose_prompt_makes_the_server_fail_stops_no_other(
    house: House, stream: bool
) -> None:
    await house.open()
    rests_for_long(house)
    assert (await ask(house, "#well", stream=stream))["content"]
    house.llm.plan(*[BROKEN] * 12)
    for _ in range(12):
        assert "500" in (await ask(house, "#sick", stream=stream))["error"]
    assert (await ask(house, "#well", stream=stream))["content"] == "You said: Hello"


async def test_a_server_that_is_back_is_called_again_long_before_the_rest_is_over(
    house: House,
) -> None:
    await house.open()
    rests_for_long(house)
    house.llm.routes["/v1/models"] = Behaviour(status=503)
    await opened(house)
    calls = len(house.llm.prompts)
    async with asyncio.timeout(WAIT_S):
        while house.llm.calls("/v1/models") < 2:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    assert (await house.bot.ask("Hello"))["code"] == "provider_unavailable"
    assert len(house.llm.prompts) == calls
    del house.llm.routes["/v1/models"]
    async with asyncio.timeout(WAIT_S):
        while "content" not in (answer := await house.bot.ask("Hello")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert answer["provider"] == "openai"
    assert len(house.llm.prompts) == calls + 1


async def test_a_circuit_that_opens_and_closes_is_logged_with_the_request_that_showed_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    rests_for_long(house)
    house.llm.routes["/v1/models"] = Behaviour(status=503)  # else it may close at once
    await opened(house)
    del house.llm.routes["/v1/models"]
    async with asyncio.timeout(WAIT_S):
        while "content" not in (answer := await house.bot.ask("Hello")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    told = [each.args for each in caplog.records if "circuit" in str(each.args)]
    assert all(each.levelname == "WARNING" for each in caplog.records if each.args in told)
    assert [
        (each["event"], each["provider"], each.get("status"), each.get("failures"))
        for each in told
        if isinstance(each, dict)
    ] == [
        ("provider.circuit_opened", "openai", 500, 5),
        ("provider.circuit_closed", "openai", None, None),
    ]
    first, last = (each for each in told if isinstance(each, dict))
    assert first["channel"] == "#0"
    assert last["request_id"] == answer["request_id"]


async def test_a_service_that_stops_asks_no_more(house: House) -> None:
    await house.open()
    rests_for_long(house)
    house.llm.routes["/v1/models"] = Behaviour(status=503, hold=asyncio.Event())
    await opened(house)
    async with asyncio.timeout(WAIT_S):
        while house.llm.calls("/v1/models") < 1:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    await house.close()
    await house.llm.wait_until_left()
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith("availability")]
