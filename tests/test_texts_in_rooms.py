"""Rooms in two languages, side by side: over NATS, in process, over reloads and over a crash."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from engine import LLMError, LLMService
from providers import ScriptedProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot, House
from tests.support.service_process import configuration, running
from tests.texts_page import PAGE

BERLIN, LOBBY = "irc/#berlin", "irc/#lobby"
RULES = {"rules": [{"match": "irc/#b*", "texts": "de"}]}


def german() -> dict[str, Any]:
    """The German sentences of the documents."""
    (block,) = re.findall(
        r"<!-- tested: german -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    texts: dict[str, Any] = tomllib.loads(block)["texts"]
    return texts


@pytest.fixture
async def house(house: House) -> House:
    house.config |= {"texts": german(), "channels": dict(RULES)}
    return house


SAID = [
    (
        "reset",
        "Conversation reset: 0 messages cleared.",
        "Neues Gespräch: 0 Nachrichten vergessen.",
    ),
    ("persona Concise", "Persona: concise from now on.", "Rolle: ab jetzt concise."),
    (
        "persona pirate",
        'Persona "pirate" is unknown. There are: default, concise, technical, creative.',
        'Die Rolle "pirate" gibt es nicht. Es gibt: default, concise, technical, creative.',
    ),
    (
        "model",
        "Model: openai/test-model. No other one can be chosen here.",
        "Modell: openai/test-model. Ein anderes steht hier nicht zur Wahl.",
    ),
    (
        "stop",
        "Stop: no answer is being written.",
        "Es gibt nichts anzuhalten: Gerade entsteht keine Antwort.",
    ),
]


async def test_two_rooms_hear_two_languages_side_by_side(house: House) -> None:
    await house.open()
    for line, english, in_german in SAID:
        answers = await asyncio.gather(house.bot.ask(line, LOBBY), house.bot.ask(line, BERLIN))
        assert [each.get("content") or each["error"] for each in answers] == [english, in_german]
    models = [await house.bot.ask("Hi", channel) for channel in (LOBBY, BERLIN)]
    assert models[0]["content"] == models[1]["content"]


async def test_a_stopped_answer_and_its_stop_are_in_the_rooms_language(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("Tell me everything", BERLIN, request_id="long", username="Bert")
    await house.bot.deltas(1)
    assert (await house.bot.ask("stop", BERLIN))["content"] == "Angehalten."
    stopped, _ = await house.bot.outcomes(2)
    assert stopped["code"] == "cancelled"
    assert stopped["error"] == "Die Antwort an Bert wurde angehalten."


async def test_a_full_mailbox_is_told_in_the_rooms_language_with_its_numbers(
    house: House, llm: LLMServer
) -> None:
    house.config["channels"] = RULES | {"mailbox_limit": 1}
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    await house.bot.chat("first", BERLIN)
    await llm.wait_for_requests(1)
    await house.bot.chat("second", BERLIN)
    busy = await house.bot.ask("third", BERLIN)
    hold.set()
    assert (busy["code"], busy["ahead"]) == ("busy", 1)
    told = re.fullmatch(r"Hier wartet schon eine Nachricht\. Bitte in (\d+) s .*", busy["error"])
    assert told
    assert 0 <= int(told[1]) - busy["retry_after_s"] < 1


async def test_a_failed_provider_is_told_in_the_rooms_language_and_logged_in_english(
    house: House, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    llm.plan(Behaviour(status=429), Behaviour(status=429))
    english, in_german = [await house.bot.ask("Hi", each) for each in (LOBBY, BERLIN)]
    assert english["error"] == "OpenAI API error: 429 Too Many Requests: status 429"
    assert in_german["error"].startswith("Das Modell bekommt zu viele Anfragen.")
    assert {english["code"], in_german["code"]} == {"rate_limited"}
    assert house.history(BERLIN)[-1] == ("error", english["error"])
    logged = [each.getMessage() for each in caplog.records if each.name == "rosey_llm.turn"]
    assert [english["error"] in each for each in logged] == [True, True]


async def test_a_reload_changes_what_is_said_next_and_not_what_was_said(house: House) -> None:
    await house.open()
    first = await house.bot.ask("reset", BERLIN, request_id="r1")
    failed = await house.bot.ask("persona pirate", BERLIN, request_id="r2")
    house.config["texts"]["de"]["conversation_reset"] = "Alles vergessen, {number} Nachrichten."
    changes = await house.reload()
    assert changes.texts == {"de.conversation_reset": "changed"}
    said = (await house.bot.ask("reset", BERLIN))["content"]
    assert said == "Alles vergessen, 0 Nachrichten."
    house.config["channels"] = {}
    assert (await house.reload()).rules == {"irc/#b*": "removed"}
    assert (await house.bot.ask("reset", BERLIN))["content"].startswith("Conversation reset")
    assert await house.bot.ask("reset", BERLIN, request_id="r1") == first
    assert await house.bot.ask("persona pirate", BERLIN, request_id="r2") == failed
    await house.restart()
    assert await house.bot.ask("reset", BERLIN, request_id="r1") == first


async def test_a_reload_with_a_wrong_text_changes_nothing(house: House) -> None:
    await house.open()
    house.config["texts"]["de"] = {"stopped": "Gut.", "persona_switched": "Jetzt."}
    with pytest.raises(Exception, match=r"texts\.de\.persona_switched: the placeholder \{name\}"):
        await house.reload()
    said = (await house.bot.ask("persona concise", BERLIN))["content"]
    assert said == "Rolle: ab jetzt concise."


async def test_a_message_that_cannot_be_read_is_refused_in_the_rooms_language(
    house: House,
) -> None:
    await house.open()
    message = {"action": "chat", "channel_id": BERLIN, "message": "Hi", "temperature": 3}
    refused = await house.bot.call("llm.request", message)
    assert refused["error"] == "Falsches Feld: temperature: expected 0 to 2, got 3"
    refused = await house.bot.call("llm.request", message | {"channel_id": LOBBY})
    assert refused["error"] == "temperature: expected 0 to 2, got 3"


async def test_the_engine_in_process_says_the_sentences_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "rosey-llm.toml"
    file.write_text(tomlkit.dumps({"texts": german(), "channels": RULES}))
    async with LLMService(ScriptedProvider(), config=file) as service:
        for english, in_german, call in (
            ("Conversation reset", "Neues Gespräch", service.reset),
            ("Stop: no answer", "Es gibt nichts anzuhalten", service.stop),
        ):
            answers = await asyncio.gather(call(LOBBY), call(BERLIN))
            assert answers[0].content.startswith(english)
            assert answers[1].content.startswith(in_german)
        with pytest.raises(LLMError, match="The message is empty"):
            await service.chat("", LOBBY)
        with pytest.raises(LLMError, match="Die Nachricht ist leer"):
            await service.chat("", BERLIN)


@pytest.mark.process
async def test_an_outcome_that_a_kill_kept_from_being_sent_is_sent_in_the_stored_words(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with Server(tmp_path, "") as server:
        config = configuration(llm, nats={"url": server.url}, texts=german(), channels=dict(RULES))
        hold = asyncio.Event()
        llm.plan(Behaviour(status=401, hold=hold))
        async with running(tmp_path, config) as service:
            await service.bot.chat("Hi", BERLIN, request_id="r")
            await llm.wait_for_requests(1)
            await service.bot.close()
            await server.stop()
            hold.set()
            await service.logged(lambda: outcomes(tmp_path) == [(None,)])
            service.process.kill()
            await service.process.wait()
        config["texts"]["de"] = {"provider_auth": "Ganz andere Worte."}
        await server.start()
        bot = await Bot.connect(server.url)
        async with running(tmp_path, config) as service:
            (outcome,) = await bot.outcomes(1)
            again = await service.bot.ask("Hi", BERLIN, request_id="r")
            other = await service.bot.ask("reset", BERLIN)
        await bot.close()
    assert outcome["error"].startswith("Das Modell lehnt den Schlüssel ab.")
    assert again == outcome
    assert other["content"] == "Conversation reset: 0 messages cleared."


def outcomes(folder: Path) -> list[tuple[int | None]]:
    """When each stored outcome was published."""
    path = folder / "data" / "rosey-llm.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=WAIT_S)
    try:
        return connection.execute("SELECT published_ms FROM outbox").fetchall()
    finally:
        connection.close()
