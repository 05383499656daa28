"""Erasing while the service runs: real bots, real files, the real command."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import LLMService
from engine.actors.conversation_cache import ConversationCache
from engine.commands.parser import parse
from engine.commands.records import Chat
from engine.operations.erasure import Eraser
from providers import ScriptedProvider
from storage import verification
from storage.erasure import Scope
from storage.queries.reader import open_reader
from tests.fakes.llm_server import Behaviour
from tests.support.channel_writes import held
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.secrets_database import files_containing
from tests.support.service_harness import House

WORD = "xylophonic"
ERASED = "This message was erased."


async def command(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `rosey-llm history ...` beside the running service."""
    return await asyncio.to_thread(
        subprocess.run,
        [COMMAND, "history", "--database", str(path(house)), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=WAIT_S,
        check=False,
    )


async def erase(house: House, *arguments: str) -> None:
    done = await command(house, "erase", *arguments, "--yes")
    assert (done.returncode, done.stderr) == (0, ""), done


def path(house: House) -> Path:
    return house.folder / "data" / "rosey-llm.db"


def found(house: House, word: str = WORD) -> list[tuple[str, str]]:
    return files_containing(house.folder / "data", word)


def verify(house: House) -> verification.Verified:
    with closing(open_reader(path(house))) as connection:
        return verification.verify(connection)


async def test_an_erased_user_is_found_in_no_file_and_no_prompt(house: House) -> None:
    await house.open()
    bot, llm = house.bot, house.llm
    for channel in ("#a", "#b", "#c"):
        await bot.ask("I am Bob", channel, username="bob")
        await bot.ask(f"Mine is {WORD}", channel, username="Mallory", request_id=f"{channel} m")
        await bot.ask("Good to know", channel, username="bob")
    assert house.app is not None
    engine = house.app.inspect().engine
    await engine.supervisor.residents.snapshot_changed()
    assert (await command(house, "search", WORD)).returncode == 0
    # One message whose outcome is not published yet; one that runs; one that waits.
    hold = asyncio.Event()
    engine.database.write_soon(_unpublish)
    llm.plan(Behaviour(hold=hold), Behaviour(hold=hold))
    await bot.chat("A long one", "#c", username="bob", request_id="running")
    await bot.chat(f"more {WORD}", "#c", username="mallory", request_id="waiting")
    await bot.chat(f"and {WORD}", "#b", username="MALLORY", request_id="cut off")
    await llm.wait_for_requests(11)
    assert {name for name, _ in found(house)} >= {"rosey-llm.db-wal", "rosey-llm.db-search"}

    await erase(house, "--user", "mallory")

    assert found(house) == []
    assert files_containing(path(house).parent, "mallory") == []
    await bot.until(lambda: _outcomes(bot.received, "cut off") == ["cancelled"])
    assert await bot.ask("again", "#a", username="Mallory", request_id="#a m") == {
        "type": "llm_error",
        "channel_id": "#a",
        "request_id": "#a m",
        "code": "cancelled",
        "error": ERASED,
    }
    hold.set()
    seen = len(llm.prompts)
    for channel in ("#a", "#b", "#c"):
        await bot.ask("And now?", channel, username="bob")
    assert _outcomes(bot.received, "waiting") == ["cancelled"]
    assert WORD not in str(llm.prompts[seen:])
    assert [len(prompt) for prompt in llm.prompts[seen:]] == [6, 6, 8]
    assert found(house) == []
    assert [text for _, text in house.history("#a") if text] == [
        "I am Bob", "You said: I am Bob",
        "Good to know", "You said: bob: Good to know",
        "And now?", "You said: And now?",
    ]  # fmt: skip
    proved = verify(house)
    assert proved.erased == 6
    await house.restart()
    await house.bot.ask("And after a restart?", "#a", username="bob")
    assert WORD not in str(llm.prompts[seen:])


def _unpublish(connection: Any) -> None:
    connection.execute("UPDATE outbox SET published_ms = NULL WHERE request_id = '#b m'")


def _outcomes(heard: Sequence[dict[str, Any]], request_id: str) -> list[str]:
    return [
        each.get("code", "answered")
        for each in heard
        if each["request_id"] == request_id and each["type"] != "llm_delta"
    ]


async def test_a_command_erased_while_it_waits_keeps_its_place(house: House) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    for number, user in enumerate(["bob", "mallory", "bob", "mallory", "bob"]):
        await house.bot.chat(f"message {number}", username=user, request_id=f"r{number}")
    await house.llm.wait_for_requests(1)
    await erase(house, "--user", "mallory")
    hold.set()
    outcomes = await house.bot.outcomes(5)
    assert [each["request_id"] for each in outcomes] == ["r0", "r1", "r2", "r3", "r4"]
    assert [each.get("error") for each in outcomes] == [None, ERASED, None, ERASED, None]
    assert len(house.llm.prompts) == 3
    assert [kind for kind, _ in house.history() if kind == "cancelled"] == ["cancelled"] * 2


async def test_a_command_erased_while_it_waits_stays_erased_over_a_restart(house: House) -> None:
    await house.open()
    hold = asyncio.Event()
    house.config["service"] = {"drain_timeout_s": 0.1}
    await house.restart()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("Wait", username="bob")
    await house.bot.chat(WORD, username="mallory", request_id="waiting")
    await house.llm.wait_for_requests(1)
    await erase(house, "--user", "mallory")
    await house.restart()
    answer = await house.bot.ask(WORD, username="mallory", request_id="waiting")
    assert (answer["code"], answer["error"]) == ("cancelled", ERASED)
    assert WORD not in str(house.llm.prompts)
    assert found(house) == []


async def test_an_erased_channel_keeps_its_persona_and_nothing_else(house: House) -> None:
    await house.open()
    await house.bot.ask("persona technical", "#a")
    await house.bot.ask(f"It is {WORD}", "#a")
    await house.bot.ask("persona concise", "#b")
    await house.bot.ask("Hello", "#b")
    await erase(house, "--channel", "#a")
    await house.bot.ask("What is it?", "#a")
    system, *said = house.llm.prompts[-1]
    assert [each["content"] for each in said] == ["What is it?"]
    assert "experienced engineer" in system["content"]
    assert found(house) == []
    assert len(house.history("#b")) == 3


async def test_other_users_lose_nothing_while_a_user_is_erased(house: House) -> None:
    await house.open()
    for number in range(6):
        await house.bot.ask(f"{WORD} {number}", f"#{number % 3}", username="mallory")

    async def talk(number: int) -> None:
        for line in range(8):
            answer = await house.bot.ask(
                f"bob {number} {line}", f"#{number}", username=f"bob{number}"
            )
            assert answer["type"] == "llm_response", answer

    await asyncio.gather(*(talk(number) for number in range(3)), erase(house, "--user", "mallory"))
    rows = house.rows("SELECT content FROM history WHERE kind = 'message' AND erased_ms IS NULL")
    assert sorted(row["content"] for row in rows) == sorted(
        f"bob {number} {line}" for number in range(3) for line in range(8)
    )
    assert verify(house).erased == 12
    assert found(house) == []
    seen = len(house.llm.prompts)
    await talk(0)
    assert WORD not in str(house.llm.prompts[seen:])


async def test_an_erasure_waits_for_readers_of_the_database(house: House) -> None:
    await house.open()
    await house.bot.ask(WORD, username="mallory")
    with closing(open_reader(path(house))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM history").fetchone()
        process = await asyncio.create_subprocess_exec(
            COMMAND, "history", "erase", "--user", "mallory", "--yes", "--database",
            str(path(house)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        async with asyncio.timeout(WAIT_S):
            line = await process.stderr.readline()
        assert line.startswith(b"Waiting: Another process is reading the database")
        answer = await house.bot.ask("Hello", username="bob")
        assert answer["content"] == "You said: Hello"
    async with asyncio.timeout(WAIT_S):
        assert await process.wait() == 0
    assert found(house) == []


@pytest.mark.parametrize("rounds", range(0, 40, 4))
async def test_no_conversation_is_loaded_with_text_that_is_erased_meanwhile(
    rounds: int, tmp_path: Path
) -> None:
    """At whatever point of the channel's loading for another user the erasure happens."""
    provider = ScriptedProvider({})
    database = tmp_path / "chat.db"
    async with LLMService(provider, database=database) as service:
        await service.chat(WORD, "#a", username="mallory")
    async with LLMService(provider, database=database) as service:
        engine = service.inspect().engine
        eraser = Eraser(engine.database, engine.supervisor)
        talking = asyncio.create_task(service.chat("Hello", "#a", username="bob"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        await eraser.sweep([(Scope(user="mallory"), 10**9)], compact=False)
        await engine.supervisor.residents.snapshot_changed()
        await talking
        await engine.supervisor.residents.snapshot_changed()
        await service.chat("And now?", "#a", username="bob")
        await eraser.aclose()
        assert WORD not in str(provider.calls[-1])
    with closing(open_reader(database)) as connection:
        bodies = [row[0] for row in connection.execute("SELECT body FROM snapshot")]
    assert bodies
    assert WORD.encode() not in b"".join(bodies)


async def test_a_conversation_that_is_being_read_is_read_again(tmp_path: Path) -> None:
    provider = ScriptedProvider({})
    database = tmp_path / "chat.db"
    async with LLMService(provider, database=database) as service:
        await service.chat(WORD, "#a", username="mallory")
    async with LLMService(provider, database=database) as service:
        store = service.inspect().engine.database
        cache = ConversationCache("#a", store)
        async with held(store):
            waking = asyncio.create_task(cache.conversation(window=10))
            await asyncio.sleep(0)
            cache.forget()
            blanked = store.write_soon(_blank_everything)
        await blanked
        conversation = await waking
        assert conversation.messages == 0


def _blank_everything(connection: Any) -> None:
    connection.execute("DELETE FROM snapshot")
    connection.execute("UPDATE history SET content = '', username = NULL, erased_ms = 1")


@pytest.mark.parametrize("line", ["erased", "Erased", "!chat erased"])
def test_no_sender_can_send_an_erased_command(line: str) -> None:
    assert isinstance(parse(line), Chat)
