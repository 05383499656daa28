"""The message contract, growing answers: their pieces and their end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.service_harness import House

LAST = {"delta": "", "done": True}


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


async def deltas_of(house: House, request_id: str) -> list[dict[str, Any]]:
    """Return the deltas of a request up to its end, once they are there."""

    def found() -> list[dict[str, Any]]:
        received = house.bot.received_deltas()
        return [each for each in received if each["request_id"] == request_id]

    await house.bot.until(lambda: any("done" in each for each in found()))
    return found()


def end_of(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    assert [each["index"] for each in deltas] == list(range(len(deltas)))
    assert not any("done" in each for each in deltas[:-1])
    assert all(each["delta"] for each in deltas[:-1])
    return {key: deltas[-1].get(key) for key in LAST}


async def test_a_whole_answer_ends_with_a_delta_of_its_own(house: House) -> None:
    answer = await house.bot.ask("Hi", request_id="r")
    deltas = await deltas_of(house, "r")
    assert end_of(deltas) == LAST
    assert "".join(each["delta"] for each in deltas) == answer["content"]
    await house.bot.ask("help")
    assert house.bot.received_deltas() == deltas


async def test_a_stopped_answer_ends_with_a_delta_of_its_own(house: House) -> None:
    house.llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="r")
    await house.bot.deltas(1)
    await house.bot.ask("stop")
    assert end_of(await deltas_of(house, "r")) == LAST


async def test_an_answer_that_fails_half_way_ends_with_a_delta_of_its_own(house: House) -> None:
    hold = asyncio.Event()
    pieces = ["Once ", "upon ", "a time"]
    house.llm.plan(Behaviour(pieces=pieces, hold=hold, hold_after=1, cut_after=2))
    await house.bot.chat("go", request_id="r")
    await house.bot.deltas(1)
    hold.set()
    assert (await house.bot.outcomes(1))[0]["type"] == "llm_error"
    assert end_of(await deltas_of(house, "r")) == LAST


async def test_an_answer_that_was_not_begun_has_no_end(house: House) -> None:
    house.llm.plan(Behaviour(status=401))
    await house.bot.ask("Hi", request_id="failed")
    await house.bot.ask("Hi", request_id="r")
    await deltas_of(house, "r")
    assert {each["request_id"] for each in house.bot.received_deltas()} == {"r"}


async def test_a_short_answer_comes_whole_if_the_first_delta_is_held(house: House) -> None:
    house.config["conversation"] = {"first_delta_ms": 3_600_000, "stream_interval_ms": 0}
    await house.restart()
    house.llm.plan(Behaviour(pieces=["Once ", "upon ", "a time"], gap_s=0.01))
    answer = await house.bot.ask("go", request_id="r")
    whole, _ = await deltas_of(house, "r")
    assert whole["delta"] == answer["content"] == "Once upon a time"


async def test_nothing_is_sent_of_an_answer_that_is_stopped_while_it_is_held(house: House) -> None:
    house.config["conversation"] = {"first_delta_ms": 3_600_000, "stream_interval_ms": 0}
    await house.restart()
    house.llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("go")
    await house.llm.wait_for_requests(1)
    await house.bot.ask("stop")
    await house.bot.ask("Hi", request_id="r")
    await deltas_of(house, "r")
    assert {each["request_id"] for each in house.bot.received_deltas()} == {"r"}


async def test_an_answer_that_is_not_complete_by_then_grows(house: House) -> None:
    hold = asyncio.Event()
    house.config["conversation"] = {"first_delta_ms": 1}
    await house.restart()
    house.llm.plan(Behaviour(pieces=["Once ", "upon"], hold=hold, hold_after=1))
    await house.bot.chat("go", request_id="r")
    assert (await house.bot.deltas(1))[0]["delta"] == "Once "
    hold.set()
    assert [each["delta"] for each in await deltas_of(house, "r")] == ["Once ", "upon", ""]
