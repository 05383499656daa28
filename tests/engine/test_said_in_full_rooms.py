"""Each sentence of the table is really said: those of full rooms and of what stops drop."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.said import MARKED, key_of
from tests.support.service_harness import House

CASES = (
    *("share_used", "share_used_one", "stop_all_not_allowed", "message_dropped"),
    *("stopped_and_dropped", "stopped_and_dropped_one", "dropped", "dropped_one"),
)


@pytest.mark.parametrize(("number", "one"), [(1, "_one"), (2, "")])
@pytest.mark.parametrize("cut", [True, False])
async def test_a_full_room_is_told_so_in_the_words_of_the_configuration(
    house: House, number: int, one: str, cut: bool
) -> None:
    house.config["texts"] = dict(MARKED)
    house.config["channels"] = {"mailbox_limit_per_user": number}
    house.config["permissions"] = {"stop_others": "*" if cut else "admin"}
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("first", username="bob")
    await house.llm.wait_for_requests(1)
    for each in range(number):
        await house.bot.chat("Hi", request_id=f"r{each}")
    assert key_of((await house.bot.ask("Hi"))["error"]) == f"share_used{one}"
    assert key_of((await house.bot.ask("stop all"))["error"]) == "stop_all_not_allowed"
    stopped = await house.bot.ask("stop", request_id="s")
    assert key_of(stopped["content"]) == ("stopped_and_dropped" if cut else "dropped") + one
    hold.set()
    outcomes = await house.bot.outcomes(4 + number)
    dropped = [each["error"] for each in outcomes if each["request_id"][0] == "r"]
    assert [*map(key_of, dropped)] == ["message_dropped"] * number
