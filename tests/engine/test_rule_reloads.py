"""Channel rules change while rooms talk, and while the service is killed."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import tomlkit

from engine.interfaces.reports import prompt_rebuild
from storage.queries import turns
from storage.queries.reader import open_reader
from tests.engine.test_rules_in_rooms import add_provider, proofs, rules
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import WAIT_S, until
from tests.support.reloads import outcome
from tests.support.service_harness import House
from tests.support.service_process import configuration, running

ROOMS = ("irc/#a", "in/#a", "de/#a", "#none")
ROUNDS = 10


def rules_of_round(number: int) -> list[dict[str, Any]]:
    """Three rules, each changed in one way or another in each round."""
    irc: dict[str, Any] = {"match": "irc/*", "hint": f"Hint {number} in {{channel}}."}
    irc |= {"max_reply_chars": 20 + number, "parts": number % 2 == 0, "stream": number % 3 > 0}
    inside: dict[str, Any] = {"match": "in/*", "provider": "inside", "stays": ["inside"]}
    inside |= {"model": f"model-{number}", "max_context_messages": 1 + number % 4 * 2}
    other: dict[str, Any] = {"match": "de/*", "persona": ("concise", "technical")[number % 2]}
    other |= {"temperature": number / 10, "status": number % 2 == 0}
    if number % 3 == 0:
        other |= {"provider": "inside", "fallback_providers": ["openai"]}
    found = [irc, inside, other]
    return found[number % 3 :] + found[: number % 3]


async def test_rules_change_under_traffic_and_every_prompt_is_proved(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    add_provider(house, "inside", other)
    rules(house, *rules_of_round(0), mailbox_limit_per_user=16)
    await house.open()
    for number in range(ROUNDS):
        for room in ROOMS:
            for part in range(3):
                line = f"{room} asks {number}-{part}. It goes on. And on."
                await house.bot.chat(line, room, request_id=f"{room} {number} {part}")
        await house.bot.flush()
        rules(house, *rules_of_round(number + 1), mailbox_limit_per_user=16)
        changed = await house.reload()
        assert changed.rules.keys() == {"irc/*", "in/*", "de/*"}
        await house.bot.outcomes(max(0, 12 * (number - 1)))
    outcomes = await house.bot.outcomes(12 * ROUNDS)
    assert {each["type"] for each in outcomes} == {"llm_response"}
    for room in ROOMS:
        ids = [each["request_id"] for each in outcomes if each["channel_id"] == room]
        assert ids == [f"{room} {number} {part}" for number in range(ROUNDS) for part in range(3)]
    for each in outcomes:
        assert "".join(each.get("parts", [each["content"]])) == each["content"]
        assert each["content"] != "", each
    assert proofs(house) == [True] * (12 * ROUNDS)
    assert b"in/#a asks" not in orjson.dumps([request.body for request in llm.requests])
    assert {each["provider"] for each in outcomes if each["channel_id"] == "in/#a"} == {"inside"}
    # The last rules hold for the next turn.
    await house.bot.ask("Last", "irc/#a")
    assert llm.prompts[-1][0]["content"].endswith(f"\n\nHint {ROUNDS} in #a.")


async def test_a_running_turn_ends_with_the_rule_it_began_with(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    add_provider(house, "inside", other)
    rules(house, {"match": "*", "provider": "inside", "max_reply_chars": 10, "stream": False})
    await house.open()
    go_on = asyncio.Event()
    other.plan(Behaviour(hold=go_on, text="One two. Three four."))
    await house.bot.chat("Hi", request_id="begun")
    await house.bot.chat("Hi", request_id="waiting")
    await other.wait_for_requests(1)
    rules(house, {"match": "*", "persona": "concise"})
    del house.config["providers"]["inside"]
    changed = await house.reload()
    assert (changed.rules, changed.providers) == ({"*": "changed"}, {"inside": "removed"})
    go_on.set()
    begun, waiting = await outcome(house, "begun"), await outcome(house, "waiting")
    assert (begun["content"], begun["finish_reason"]) == ("One two.", "length")
    assert (begun["provider"], begun["persona"]) == ("inside", "default")
    assert (waiting["provider"], waiting["persona"]) == ("openai", "concise")
    await other.wait_until_left()  # it was closed after its last turn


@pytest.mark.process
async def test_killed_between_a_reload_and_the_next_turn_it_goes_on_with_the_new_rule(
    tmp_path: Path, llm: LLMServer
) -> None:
    def config(hint: str) -> dict[str, Any]:
        return configuration(llm, channels={"rules": [{"match": "*", "hint": hint}]})

    async with running(tmp_path, config("First.")) as service:
        await service.bot.ask("One", request_id="one")
        hold = asyncio.Event()
        llm.plan(Behaviour(hold=hold))
        await service.bot.chat("Two", request_id="two")
        await llm.wait_for_requests(2)
        await service.bot.chat("Three", request_id="three")
        await service.bot.flush()
        (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(config("Second.")))
        service.process.send_signal(signal.SIGHUP)
        await service.logged(lambda: "config.reloaded" in service.log)
        await service.kill()
    hold.set()
    async with running(tmp_path, config("Second.")) as service:
        for request_id in ("two", "three"):
            await service.bot.ask_until_answered("again", request_id=request_id)
        await service.end()
    systems = [prompt[0]["content"].split("\n\n")[1] for prompt in llm.prompts]
    assert systems == ["First.", "First.", "Second.", "Second."]
    with closing(open_reader(tmp_path / "data" / "rosey-llm.db")) as connection:
        for request_id in ("one", "two", "three"):
            (turn,) = turns.find(connection, request_id, None)
            assert prompt_rebuild.rebuild(connection, turn).matches is True


async def test_a_provider_that_no_rule_has_any_more_is_closed_after_its_last_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house.folder / "closing_provider.py").write_text(
        "import asyncio\n"
        "from providers.scripted import ScriptedProvider\n"
        "asked, go_on, closed = asyncio.Event(), asyncio.Event(), []\n"
        "class Closing(ScriptedProvider):\n"
        "    async def chat(self, messages, options):\n"
        "        asked.set()\n"
        "        await go_on.wait()\n"
        "        return await super().chat(messages, options)\n"
        "    async def aclose(self):\n"
        "        closed.append(self.name)\n"
    )
    monkeypatch.syspath_prepend(house.folder)
    house.config["providers"]["inside"] = {"kind": "closing_provider:Closing"}
    rules(house, {"match": "*", "provider": "inside", "stream": False})
    await house.open()
    watched = sys.modules["closing_provider"]
    await house.bot.chat("Hi", request_id="begun")
    async with asyncio.timeout(WAIT_S):
        await watched.asked.wait()
    rules(house)
    await house.reload()
    assert (await house.bot.ask("Hi", "#other"))["provider"] == "openai"
    assert watched.closed == []
    watched.go_on.set()
    assert (await outcome(house, "begun"))["provider"] == "inside"
    await until(lambda: watched.closed == ["inside"])
