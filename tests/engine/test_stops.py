"""A stop is committed together with the turn that it ends, and costs nothing if it ends none."""

from __future__ import annotations

import asyncio

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House


async def test_a_stop_is_one_commit_with_its_turn_and_stands_behind_it(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.deltas(1)
    await house.bot.ask("stop", request_id="s")
    assert [kind for kind, _ in house.history()] == ["message", "cancelled", "stop"]
    rows = house.rows("SELECT kind, ts_ms FROM history ORDER BY id")
    assert rows[1]["ts_ms"] == rows[2]["ts_ms"]  # of the one commit
    outcomes = [each["request_id"] for each in house.bot.received_outcomes()]
    assert outcomes == ["long", "s"]


async def test_a_stop_that_stops_nothing_leaves_nothing(house: House) -> None:
    await house.open()
    for number in range(20):
        answer = await house.bot.ask("stop", f"#new{number}")
        assert answer["content"] == "Stop: no answer is being written."
    for table in ("channel", "history", "outbox", "mailbox", "reply"):
        assert house.rows(f"SELECT * FROM {table}") == []  # noqa: S608 - our own names


async def test_several_stops_of_one_answer_each_get_an_outcome(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.deltas(1)
    stops = [house.bot.ask("stop", request_id=f"s{number}") for number in range(30)]
    answers = await asyncio.gather(*stops)
    for each in answers:
        assert each.get("content") in ("Stopped.", "Stop: no answer is being written.") or (
            each["code"] == "busy"
        )
    assert any(each.get("content") == "Stopped." for each in answers)
    kinds = [kind for kind, _ in house.history()]
    assert kinds[:2] == ["message", "cancelled"]
    assert set(kinds[2:]) == {"stop"}
    assert len(kinds) <= 2 + 8


async def test_a_stop_sent_again_gets_its_first_outcome(house: House, llm: LLMServer) -> None:
    await house.open()
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.deltas(1)
    first = await house.bot.ask("stop", request_id="s")
    assert await house.bot.ask("stop", request_id="s") == first
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    await house.bot.chat("next", request_id="next")
    await llm.wait_for_requests(2)
    assert await house.bot.ask("stop", request_id="s") == first
    hold.set()
    outcomes = await house.bot.outcomes(5)
    assert {each["request_id"]: each for each in outcomes}["next"]["type"] == "llm_response"
