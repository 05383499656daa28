"""A running service applies a changed configuration and loses no message."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from engine.errors import CannotReload
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import until
from tests.support.reloads import engine, outcome, point_to, provider
from tests.support.service_harness import House

CHANNELS = [f"#{number}" for number in range(20)]


async def test_no_message_is_lost_doubled_or_out_of_order_while_all_of_it_changes(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    house.config["channels"] = {"mailbox_limit": 50}
    await house.open()
    for number in range(20):
        for channel in CHANNELS:
            await house.bot.chat(f"{number}", channel, request_id=f"{channel} {number}")
        await house.bot.flush()
        point_to(house, other if number % 2 == 0 else llm)
        house.config["personas"] = {"pirate" if number % 3 else "nun": {"prompt": f"No. {number}"}}
        house.config["service"] = {"max_context_messages": 3 + number % 5 * 4}
        house.config["channels"] = {
            "mailbox_limit": 50 + number,
            "resident_limit": 1 + number % 2 * 100,
            "snapshot_interval_s": 0.01 + number % 3,
        }
        await house.reload()
        # The messages of this round and of the last may still be on their way.
        await house.bot.outcomes(max(0, 20 * (number - 1)))
    outcomes = await house.bot.outcomes(400)
    await house.bot.flush()
    assert len(house.bot.received_outcomes()) == 400
    assert {each["type"] for each in outcomes} == {"llm_response"}
    for channel in CHANNELS:
        ids = [each["request_id"] for each in outcomes if each["channel_id"] == channel]
        assert ids == [f"{channel} {number}" for number in range(20)]
    for each in outcomes:
        number = each["request_id"].split()[1]
        assert each["content"].endswith(f": {number}") or f": {number} " in each["content"]
    assert llm.prompts
    assert other.prompts
    await other.wait_until_left()  # the last reload went back to the first server


async def test_a_turn_ends_with_the_provider_it_began_with(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    house.config["conversation"] = {"stream": False}
    await house.open()
    go_on = asyncio.Event()
    llm.plan(Behaviour(hold=go_on))
    await house.bot.chat("one", request_id="1")
    await llm.wait_for_requests(1)
    await house.bot.chat("two", request_id="2")
    point_to(house, other)
    await house.reload()
    assert (await house.bot.ask("three", "#elsewhere"))["content"] == "other: three"
    assert llm.open_connections == 1
    go_on.set()
    assert (await outcome(house, "1"))["content"] == "You said: one"
    assert (await outcome(house, "2"))["content"].startswith("other: ")
    await llm.wait_until_left()


async def test_a_turn_that_waits_for_its_slot_keeps_its_provider_too(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    provider(house, max_concurrency=1)
    await house.open()
    go_on = asyncio.Event()
    llm.plan(Behaviour(hold=go_on))
    await house.bot.chat("one", "#1", request_id="1")
    await llm.wait_for_requests(1)
    await house.bot.chat("two", "#2", request_id="2")
    await until(lambda: engine(house).chain.statistics()["openai"].slots.waiting == 1)
    point_to(house, other)
    await house.reload()
    go_on.set()
    assert (await outcome(house, "1"))["content"] == "You said: one"
    assert (await outcome(house, "2"))["content"] == "You said: two"
    await llm.wait_until_left()


async def test_a_provider_that_did_not_change_keeps_its_connection(
    house: House, llm: LLMServer
) -> None:
    house.config["conversation"] = {"stream": False}
    await house.open()
    for number in range(50):
        house.config["personas"] = {f"p{number}": {"prompt": "Be."}}
        await house.reload()
        await house.bot.ask("Hello")
    assert llm.connections == 1


async def test_fifty_changes_of_the_provider_leave_no_connection_behind(
    house: House, llm: LLMServer
) -> None:
    house.config["conversation"] = {"stream": False}
    await house.open()
    for number in range(50):
        await house.bot.ask("Hello", f"#{number}")
        provider(house, timeout=100 + number)
        await house.reload()
    await llm.wait_until_left()
    assert llm.connections == 50


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[service\n", "not TOML"),
        ("[service]\nbot_nam = 'x'", "service.bot_nam: unknown key"),
        (
            "[channels]\nmailbox_limit = 'all'",
            'channels.mailbox_limit: expected a whole number, got "',
        ),
        ("default_provider = 'opnai'", "default_provider: unknown provider"),
        ("[service]\ndefault_persona = 'nobody'", "service.default_persona: unknown persona"),
        ("[nats]\npassword = '${file:gone}'", "can be read, got file:gone: No such file"),
        ("default_provider = 'strange'\n[providers.strange]\nkind='strange:Raises'", "ZeroDiv"),
        (None, "cannot be read: No such file"),
    ],
)
async def test_a_file_with_an_error_is_refused_as_a_whole(
    house: House,
    text: str | None,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (house.folder / "strange.py").write_text(
        "from providers.scripted import ScriptedProvider\n"
        "class Raises(ScriptedProvider):\n"
        "    def __init__(self, config, name=None):\n"
        "        1 / 0\n"
    )
    monkeypatch.syspath_prepend(house.folder)
    await house.open()
    before = engine(house).turn_settings
    if text is not None:
        # The rest of the file is valid, and is not applied either.
        house.file.write_text(f"{text}\n[personas.pirate]\nprompt = 'Arr.'\n")
    assert house.app is not None
    with pytest.raises(CannotReload) as refused:
        await house.app.reloader.reload()
    assert problem in str(refused.value)
    assert str(house.file) in str(refused.value)
    assert f"was not reloaded: {refused.value}" in caplog.text
    assert engine(house).turn_settings is before
    assert (await house.bot.ask("Hello"))["content"] == "You said: Hello"
    assert "pirate" not in (await house.bot.ask("persona"))["content"]


async def test_a_reload_cancels_the_loading_of_a_model_that_is_no_longer_needed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house.folder / "loading_provider.py").write_text(
        "import asyncio\n"
        "from providers.scripted import ScriptedProvider\n"
        "loading = []\n"
        "class Loading(ScriptedProvider):\n"
        "    async def start(self):\n"
        "        loading.append(self)\n"
        "        await asyncio.Event().wait()\n"
        "    async def aclose(self):\n"
        "        loading.remove(self)\n"
    )
    monkeypatch.syspath_prepend(house.folder)
    await house.open()
    house.config["default_provider"] = "big"
    for number in range(5):
        kind = "loading_provider:Loading"
        house.config["providers"]["big"] = {"kind": kind, "reply": f"{number}"}
        await house.reload()
        loading = sys.modules["loading_provider"].loading
        await until(lambda: [each.config.reply for each in loading] == [f"{number}"])  # noqa: B023
    await house.close()
    assert not loading


async def test_a_reload_does_not_run_while_the_service_stops(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    await house.open()
    llm.plan(Behaviour(gap_s=0.01))
    await house.bot.chat("one two three", request_id="1")
    await llm.wait_for_requests(1)
    point_to(house, other)
    reload = asyncio.create_task(house.reload())
    await asyncio.sleep(0)  # it has begun
    assert house.app is not None
    await house.app.drain()
    with pytest.raises(CannotReload, match="is stopping"):
        await reload
    assert (await outcome(house, "1"))["content"] == "You said: one two three"
    await llm.wait_until_left()


async def test_a_drain_after_a_reload_takes_as_long_as_the_new_settings_say(
    house: House, llm: LLMServer, other: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    house.config["service"] = {"drain_timeout_s": 86400.0}
    await house.open()
    llm.plan(Behaviour(hold=asyncio.Event()))
    await house.bot.chat("one", request_id="1")
    await llm.wait_for_requests(1)
    house.config["service"] = {"drain_timeout_s": 0.01}
    point_to(house, other)
    await house.reload()
    await house.close()
    assert "1 turns did not end in time" in caplog.text
    await llm.wait_until_left()  # the provider that had gone is closed all the same
    assert len(house.rows("SELECT * FROM mailbox")) == 1
    await house.open()
    assert (await house.bot.ask("one", request_id="1"))["content"] == "other: one"


async def test_the_embedded_model_runs_until_a_reload_removes_it(house: House) -> None:
    house.config["default_provider"] = "local"
    house.config["providers"] = {"local": {"max_tokens": 4}}
    await house.open()
    assert (await house.bot.ask("Hello"))["provider"] == "local"
    pid = engine(house).chain.primary.pid
    house.config["personas"] = {"pirate": {"prompt": "Arr."}}
    await house.reload()
    assert (await house.bot.ask("Hello"))["provider"] == "local"
    assert engine(house).chain.primary.pid == pid
    house.config["default_provider"] = "openai"
    house.config["providers"] = {"openai": {"base_url": f"{house.llm.url}/v1", "api_key": "sk-k"}}
    await house.reload()
    assert (await house.bot.ask("Hello"))["provider"] == "openai"
    await until(lambda: not Path(f"/proc/{pid}").exists())
