"""One request id in two channels names two requests, in all that an id is good for."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.operations.erasure import REQUEST_KIND
from storage.admin_requests import AdminRequest
from storage.erasure import Scope
from storage.replies import LIMIT
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House

ERASE_A = AdminRequest(1, REQUEST_KIND, {"scope": Scope(channel="#a").to_json()}, 0)


def contents(outcomes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return each outcome's channel, and its content or its code."""
    texts = [str(each.get("content", each.get("code"))) for each in outcomes]
    return sorted(zip((each["channel_id"] for each in outcomes), texts, strict=True))


async def test_both_are_answered_and_each_repeat_gets_its_own_answer(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    hold = asyncio.Event()
    llm.plan(*[Behaviour(hold=hold)] * 2)
    first = [
        asyncio.create_task(house.bot.ask(f"to {name}", name, request_id="r1"))
        for name in ("#a", "#b")
    ]
    await llm.wait_for_requests(2)  # both run, at once
    again = asyncio.create_task(house.bot.ask("to #a", "#a", request_id="r1"))
    await house.bot.flush()
    hold.set()
    answers = [("#a", "You said: to #a"), ("#b", "You said: to #b")]
    assert contents(await asyncio.gather(*first)) == answers
    assert (await again)["content"] == "You said: to #a"
    repeats = [await house.bot.ask("another text", name, request_id="r1") for name in ("#a", "#b")]
    assert contents(repeats) == answers
    assert len(llm.prompts) == 2
    assert (await house.bot.ask("to #c", "#c", request_id="r1"))["content"] == "You said: to #c"
    await house.restart()
    repeats = [await house.bot.ask("another text", name, request_id="r1") for name in ("#a", "#b")]
    assert contents(repeats) == answers
    assert len(llm.prompts) == 3


async def test_copies_are_counted_for_each(house: House, llm: LLMServer) -> None:
    await house.open()
    hold = asyncio.Event()
    llm.plan(*[Behaviour(hold=hold)] * 2)
    for name in ("#a", "#b"):
        await house.bot.chat("Hello", name, request_id="r1")
    await llm.wait_for_requests(2)
    copies = [
        asyncio.create_task(house.bot.ask("Hello", "#a", request_id="r1")) for _ in range(LIMIT + 1)
    ]
    done, _ = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result()["code"] for task in done} == {"busy"}  # too many for #a
    copies.append(asyncio.create_task(house.bot.ask("Hello", "#b", request_id="r1")))
    await house.bot.flush()
    hold.set()
    answers = await asyncio.gather(*copies)
    assert contents(answers[-1:]) == [("#b", "You said: Hello")]
    assert len(llm.prompts) == 2


async def test_erasing_one_leaves_the_other_whether_it_runs_or_is_answered(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    assert house.app is not None
    eraser = house.app.inspect().engine.eraser
    for name in ("#a", "#b"):
        await house.bot.ask(f"to {name}", name, request_id="r1")
    hold = asyncio.Event()
    llm.plan(*[Behaviour(hold=hold)] * 2)
    running = [
        asyncio.create_task(house.bot.ask(f"again to {name}", name, request_id="r2"))
        for name in ("#a", "#b")
    ]
    await llm.wait_for_requests(4)
    await eraser.carry_out(ERASE_A)
    hold.set()
    assert contents(await asyncio.gather(*running)) == [
        ("#a", "cancelled"),
        ("#b", "You said: again to #b"),
    ]
    repeats = [await house.bot.ask("x", name, request_id="r1") for name in ("#a", "#b")]
    assert contents(repeats) == [("#a", "cancelled"), ("#b", "You said: to #b")]


async def test_a_stop_that_stopped_nothing_in_one_stops_the_other(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    nothing = await house.bot.ask("stop", "#a", request_id="s")
    assert nothing["content"] == "Stop: no answer is being written."
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", "#b", request_id="long")
    await house.bot.deltas(1)
    assert (await house.bot.ask("stop", "#b", request_id="s"))["content"] == "Stopped."
