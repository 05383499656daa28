"""`[safety]` in a running service: reloads, kills, `check`, and what operators see of a refusal."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from tests.fakes.llm_server import MODERATIONS, Behaviour, LLMServer
from tests.support.audit_database import audit
from tests.support.command_line import rosey
from tests.support.moderated import tables
from tests.support.service_harness import House
from tests.support.service_process import configuration, running

pytestmark = pytest.mark.process


@pytest.fixture
async def judge() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        server.flags = {"idiot": "harassment"}
        yield server


def with_judge(house: House, judge: LLMServer, **safety: Any) -> None:
    house.config["providers"]["judge"] = {"kind": "openai", "base_url": f"{judge.url}/v1"}
    house.config["safety"] = {"moderation": "judge", **safety}


async def test_a_reload_takes_up_every_setting_and_a_turn_ends_with_its_own(
    house: House, llm: LLMServer, judge: LLMServer
) -> None:
    await house.open()
    assert (await house.bot.ask("spam idiot"))["type"] == "llm_response"
    with_judge(house, judge, deny=["spam"])
    assert (await house.reload()).settings["safety.moderation"] == "judge"
    for said in ("spam", "idiot"):
        refused = await house.bot.ask(said, request_id=said)
        assert (refused["type"], refused["code"]) == ("llm_error", "refused")
        assert refused.keys() <= {
            "type",
            "channel_id",
            "request_id",
            "error",
            "code",
            "username",
            "action",
        }
    # A turn whose answer is being written when the moderation is turned off.
    go_on = asyncio.Event()
    llm.plan(Behaviour(text="You idiot.", hold=go_on))
    await house.bot.chat("Hi", request_id="across")
    await llm.wait_for_requests(2)
    house.config["safety"] = {}
    await house.reload()
    assert (await house.bot.ask("spam idiot", "#b"))["type"] == "llm_response"
    go_on.set()
    await house.bot.until(
        lambda: any(each["request_id"] == "across" for each in house.bot.received_outcomes())
    )
    (across,) = [each for each in house.bot.received_outcomes() if each["request_id"] == "across"]
    assert across["error"] == "The answer broke the rules of this room, so it is not shown."
    await judge.wait_until_left()
    # The same again: what was refused stays refused, and nobody is asked.
    assert (await house.bot.ask("idiot", request_id="idiot"))["code"] == "refused"
    house.config["safety"] = {"deny": ["("]}
    with pytest.raises(Exception, match=r"safety.deny\[0\]: expected a regular expression"):
        await house.reload()


@pytest.mark.parametrize("flagged", [True, False])
async def test_a_kill_while_a_message_is_judged_asks_again_and_no_model_unless_it_passes(
    tmp_path: Path, llm: LLMServer, judge: LLMServer, flagged: bool
) -> None:
    said = "You idiot" if flagged else "You friend"
    judge.routes[MODERATIONS] = Behaviour(hold=asyncio.Event())
    config = configuration(llm, safety={"moderation": "judge", "moderation_timeout_s": 100.0})
    config["providers"]["judge"] = {"kind": "openai", "base_url": f"{judge.url}/v1"}
    async with running(tmp_path, config) as service:
        await service.bot.chat(said, request_id="r")
        await judge.wait_for_judged(1)
        await service.kill()
    assert llm.prompts == []
    judge.routes.clear()
    async with running(tmp_path, config) as service:
        outcome = await service.bot.ask(said, request_id="r")
        assert outcome.get("code") == ("refused" if flagged else None)
    assert judge.judged[1] == said
    assert len(llm.prompts) == (0 if flagged else 1)
    with sqlite3.connect(tmp_path / "data" / "rosey-llm.db") as connection:
        rows = connection.execute("SELECT kind FROM history WHERE request_id = 'r' ORDER BY id")
        assert [kind for (kind,) in rows] == ["message", "error" if flagged else "answer"]
    connection.close()


async def test_a_kill_while_an_answer_is_judged_shows_nothing_of_it(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    llm.plan(Behaviour(text="You idiot."), Behaviour(text="You friend."))
    config = configuration(llm, safety={"moderation": "judge", "moderation_timeout_s": 100.0})
    config["providers"]["judge"] = {"kind": "openai", "base_url": f"{judge.url}/v1"}
    go_on = asyncio.Event()
    async with running(tmp_path, config) as service:
        judge.routes[MODERATIONS] = Behaviour(hold=go_on)
        await service.bot.chat("Hi", request_id="r")
        await judge.wait_for_judged(1)
        judge.routes[MODERATIONS] = Behaviour(hold=asyncio.Event())
        go_on.set()
        await judge.wait_for_judged(2)
        assert service.bot.received == []
        await service.kill()
    judge.routes.clear()
    async with running(tmp_path, config) as service:
        assert (await service.bot.ask("Hi", request_id="r"))["content"] == "You friend."
    assert judge.judged == ["Hi", "You idiot.", "Hi", "You friend."]


async def test_operators_see_why_a_message_was_refused(house: House, judge: LLMServer) -> None:
    with_judge(house, judge, on_failure="allow")
    await house.open()
    await house.bot.ask("You idiot", username="alice")
    judge.routes[MODERATIONS] = Behaviour(status=500)
    await house.bot.ask("You idiot", username="alice")
    await house.close()
    shown = await asyncio.to_thread(rosey, house.folder, "history", "show", "#lobby")
    assert "! refused (harassment) to alice: This message breaks the rules" in shown.stdout
    stats = await asyncio.to_thread(rosey, house.folder, "history", "stats", "--json")
    assert json.loads(stats.stdout)[0]["errors"] == {"refused": 1}
    with audit(house.folder) as page:
        page.enter()
        refused, passed = (page.get(f"/turn/{row}").text for row in (2, 4))
    for fact in ("Refused</dt><dd><bdi>message", "Categories</dt><dd><bdi>harassment"):
        assert fact in refused
        assert fact not in passed
    assert "Judged by</dt><dd><bdi>judge" in refused
    assert "Not checked</dt><dd><bdi>message, answer" in passed
    assert "Not checked" not in refused


async def test_check_has_the_moderation_judge_a_harmless_word(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    async def check(**safety: Any) -> tuple[int, dict[str, Any]]:
        config = tables(llm, judge, **safety) | {"nats": {"port": 0}, "http": {"port": 0}}
        config["providers"]["openai"]["default_model"] = "gpt-4"
        (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(config))
        done = await asyncio.to_thread(rosey, tmp_path, "check", "--json")
        (found,) = [
            each
            for each in json.loads(done.stdout)["findings"]
            if each["part"] == "moderation judge"
        ]
        return done.returncode, found

    code, found = await check()
    assert (code, found["ok"]) == (0, True)
    assert found["detail"] == "it judges with omni-moderation-latest"
    assert judge.judged == ["Hello."]
    judge.routes[MODERATIONS] = Behaviour(status=404, body={"error": {"message": "no such path"}})
    code, found = await check()
    assert (code, found["ok"]) == (1, False)
    assert found["detail"].endswith("until then nothing is answered")
    code, found = await check(on_failure="allow")
    assert (code, found["ok"]) == (0, False)
    assert found["detail"].endswith("until then nothing is judged")
