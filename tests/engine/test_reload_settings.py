"""What a reload changes beside the providers: personas, limits, secrets, and its report."""

from __future__ import annotations

import asyncio

import pytest
import tomlkit

from engine.errors import CannotReload
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import until
from tests.support.reloads import engine, provider
from tests.support.service_harness import House


async def test_new_personas_apply_from_the_next_message_on(house: House, llm: LLMServer) -> None:
    house.config["personas"] = {"pirate": {"prompt": "Arr."}}
    await house.open()
    await house.bot.ask("persona pirate")
    house.config["personas"] = {"pirate": {"prompt": "Ahoy."}}
    await house.reload()
    await house.bot.ask("Hello")
    assert llm.prompts[-1][0]["content"] == "Ahoy."
    house.config["personas"] = {}
    await house.reload()
    assert (await house.bot.ask("Hello"))["persona"] == "default"
    house.config["service"] = {"default_persona": "concise"}
    await house.reload()
    assert (await house.bot.ask("Hello"))["persona"] == "concise"


async def test_the_prompts_of_new_personas_are_stored(house: House) -> None:
    await house.open()
    house.config["personas"] = {"pirate": {"prompt": "Arr."}}
    await house.reload()
    await house.bot.ask("persona pirate")
    assert house.rows("SELECT prompt FROM persona_version WHERE name = 'pirate'")


async def test_a_larger_window_shows_a_channel_in_memory_more_of_its_history(
    house: House, llm: LLMServer
) -> None:
    house.config["service"] = {"max_context_messages": 3}
    await house.open()
    for word in ("one", "two", "three", "four"):
        await house.bot.ask(word)
    assert [message["role"] for message in llm.prompts[-1]].count("user") == 2
    house.config["service"] = {"max_context_messages": 9}
    await house.reload()
    await house.bot.ask("five")
    said = [message["content"] for message in llm.prompts[-1] if message["role"] == "user"]
    assert said == ["one", "two", "three", "four", "five"]
    house.config["service"] = {"max_context_messages": 3}
    await house.reload()
    reset = await house.bot.ask("reset")
    assert reset["content"] == "Conversation reset: 2 messages cleared."


async def test_new_limits_apply_to_channels_in_memory(house: House, llm: LLMServer) -> None:
    await house.open()
    go_on = asyncio.Event()
    llm.plan(Behaviour(hold=go_on))
    await house.bot.chat("one", request_id="1")
    await llm.wait_for_requests(1)
    for request_id in ("2", "3"):
        await house.bot.chat(request_id, request_id=request_id)
    await until(lambda: engine(house).supervisor.statistics().commands == 3)
    house.config["channels"] = {"mailbox_limit": 1}
    house.config["conversation"] = {"max_message_bytes": 10}
    await house.reload()
    refused = await house.bot.ask("four")
    assert (refused["code"], refused["ahead"]) == ("busy", 2)
    assert (await house.bot.ask("a long message"))["code"] == "invalid_request"
    house.config["channels"] = {"commands_limit": 3}
    await house.reload()
    assert (await house.bot.ask("five", "#elsewhere"))["code"] == "busy"
    house.config["channels"] = {}
    await house.reload()
    go_on.set()
    assert (await house.bot.ask("six"))["type"] == "llm_response"
    ids = [each["request_id"] for each in house.bot.received_outcomes()]
    assert [each for each in ids if each in "123"] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("lowered", "elsewhere"),
    [("mailbox_limit_bytes", "llm_response"), ("commands_limit_bytes", "busy")],
)
async def test_a_lower_byte_limit_keeps_what_waits_and_refuses_what_is_new(
    house: House, llm: LLMServer, lowered: str, elsewhere: str
) -> None:
    """elsewhere: what another channel, which has room of its own, gets meanwhile."""
    await house.open()
    go_on = asyncio.Event()
    llm.plan(Behaviour(hold=go_on))
    await house.bot.chat("one", request_id="1")
    await llm.wait_for_requests(1)
    waiting = [str(number) for number in range(2, 8)]
    for request_id in waiting:
        await house.bot.chat("x" * 1000, request_id=request_id)
    await until(lambda: engine(house).supervisor.statistics().waiting == 7)
    house.config["channels"] = {lowered: 3000}
    await house.reload()
    assert (await house.bot.ask("new", request_id="new"))["code"] == "busy"
    other = await house.bot.ask("new", "#elsewhere")
    assert other.get("code", other["type"]) == elsewhere
    go_on.set()
    await until(lambda: engine(house).supervisor.statistics().commands == 0)
    assert (await house.bot.ask("new", request_id="new"))["type"] == "llm_response"
    answered = [
        each["request_id"]
        for each in house.bot.received_outcomes()
        if each["channel_id"] == "#lobby" and each["type"] == "llm_response"
    ]
    assert answered == ["1", *waiting, "new"]
    # The new limit holds from now on.
    go_on.clear()
    llm.plan(Behaviour(hold=go_on))
    await house.bot.chat("one", request_id="again")
    await llm.wait_for_requests(len(llm.requests) + 1)
    several = [house.bot.ask("x" * 1000, request_id=f"n{number}") for number in range(6)]
    asking = asyncio.gather(*several)
    await until(lambda: len(refused(house) & {f"n{number}" for number in range(6)}) == 4)
    go_on.set()
    answers = await asking
    assert [each.get("code", "") for each in answers] == ["", "", "busy", "busy", "busy", "busy"]


def refused(house: House) -> set[str]:
    return {each["request_id"] for each in house.bot.received_outcomes() if "code" in each}


async def test_a_shorter_interval_applies_at_once(house: House) -> None:
    house.config["channels"] = {"snapshot_interval_s": 3600.0, "passivate_after_s": 7200.0}
    await house.open()
    await house.bot.ask("Hello")
    supervisor = engine(house).supervisor
    assert supervisor.statistics().actors == 1
    house.config["channels"] = {"snapshot_interval_s": 0.01, "passivate_after_s": 0.02}
    await house.reload()
    await until(lambda: supervisor.statistics().actors == 0)
    assert house.rows("SELECT * FROM snapshot")


async def test_secrets_in_files_are_read_again(house: House, llm: LLMServer) -> None:
    llm.api_key = "sk-new-key-of-the-server"
    (house.folder / "key").write_text("sk-old")
    provider(house, api_key="${file:key}")
    await house.open()
    assert (await house.bot.ask("Hello"))["code"] == "provider_auth"
    (house.folder / "key").write_text(llm.api_key)
    changes = await house.reload()
    assert changes.lines == ["providers: openai changed"]
    assert (await house.bot.ask("Hello"))["content"] == "You said: Hello"


async def test_a_reload_reports_changes_and_what_needs_a_restart(house: House) -> None:
    house.config["personas"] = {"pirate": {"prompt": "Arr."}, "nun": {"prompt": "Peace."}}
    await house.open()
    house.config["personas"] = {"Pirate": {"prompt": "Ahoy."}, "poet": {"prompt": "O!"}}
    house.config["fallback_providers"] = ["scripted"]
    provider(house, timeout=5.0)
    house.config["channels"] = {"mailbox_limit": 7}
    house.config["storage"] = {"dedupe_days": 3, "durability": "normal"}
    house.config["nats"] = {"port": 4333, "subjects": {"chat": "x"}, "password": "hush-hush"}
    changes = await house.reload()
    assert changes.lines == [
        "personas: poet added, pirate changed, nun removed",
        "providers: scripted added, openai changed",
        'settings: fallback_providers = ["scripted"], channels.mailbox_limit = 7,'
        " storage.dedupe_days = 3",
        "needs a restart: storage.durability, nats.port, nats.password, nats.subjects.chat",
    ]
    # Each reload reports this until then.
    assert (await house.reload()).lines == changes.lines[-1:]
    house.config["nats"] = {"port": 0}
    house.config["storage"] = {"dedupe_days": 3}
    assert (await house.reload()).lines == ["nothing has changed"]


async def test_a_service_without_a_file_reads_one_that_was_created_since(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.app import build_app

    monkeypatch.chdir(house.folder)
    house.app = build_app(house.settings)
    await house.app.start()
    with pytest.raises(CannotReload, match="started without a configuration file"):
        await house.app.reloader.reload()
    house.config["personas"] = {"pirate": {"prompt": "Arr."}}
    assert (await house.reload()).lines == ["personas: pirate added"]


async def test_concurrent_reloads_run_one_after_the_other(house: House) -> None:
    await house.open()
    house.config["personas"] = {"pirate": {"prompt": "Arr."}}
    house.file.write_text(tomlkit.dumps(house.config))
    assert house.app is not None
    reloader = house.app.reloader
    both = await asyncio.gather(reloader.reload(), reloader.reload())
    assert [changes.lines for changes in both] == [
        ["personas: pirate added"],
        ["nothing has changed"],
    ]
