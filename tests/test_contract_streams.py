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
