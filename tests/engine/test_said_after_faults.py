"""Each sentence of the table is really said: those about the disk, crashes and other versions."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from engine import Answer, LLMService
from engine.api.answer_stream import GrowingAnswer
from engine.clock import now_ms
from engine.commands import records
from engine.commands.records import Help
from engine.texts.texts import Texts
from providers import ScriptedProvider
from storage import suspensions
from tests.support.full_disk import fill, make_room
from tests.support.patience import WAIT_S
from tests.support.said import MARKED, Case, error_of, key_of, saying, service
from tests.support.service_calls import Gate

LONG = "word " * 40_000


def change(folder: Path, sql: str, *values: object) -> None:
    """Change the database of a service that does not run, or whose engine does not know."""
    connection = sqlite3.connect(folder / "chat.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


async def used(folder: Path) -> None:
    """Make a database with the channel `main`."""
    async with service(folder, memory=False) as bot:
        await bot.chat("Hi")


async def not_written(folder: Path) -> str:
    async with service(folder, memory=False) as bot:
        await bot.inspect().engine.database.write(fill)
        return await error_of(bot.chat(LONG[:60_000]))


async def turn_held(folder: Path) -> str:
    gate = Gate()
    provider = ScriptedProvider(script=gate)
    async with service(folder, provider, memory=False) as bot:
        engine = bot.inspect().engine
        chat = asyncio.create_task(bot.chat(LONG[:60_000]))
        await gate.until(1)
        await engine.database.write(fill)
        await gate.let(1)
        async with asyncio.timeout(WAIT_S):
            while not engine.supervisor.statistics().held:  # noqa: ASYNC110 - it stays
                await asyncio.sleep(0.01)
        said = await error_of(bot.chat("Hi", "other"))
        await engine.database.write(make_room)
        await chat
        return said


async def channel_suspended(folder: Path) -> str:
    await used(folder)
    connection = sqlite3.connect(folder / "chat.db")
    with connection:
        suspensions.save(connection, "main", now_ms() + 50_000)
    connection.close()
    async with service(folder, memory=False) as bot:
        return await error_of(bot.chat("Hi"))


async def not_handled(folder: Path) -> str:
    async with service(folder, memory=False) as bot:
        await bot.start()
        change(
            folder,
            "CREATE TRIGGER defect BEFORE INSERT ON history WHEN new.kind = 'answer'"
            " BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END",
        )
        return await error_of(bot.chat("Hi"))


async def unreadable(folder: Path) -> str:
    await used(folder)
    change(
        folder,
        "INSERT INTO mailbox (channel_id, request_id, username, body, replies, attempts,"
        " accepted_ms) VALUES (1, 'new', 'alice', ?, '[]', 0, 0)",
        b'["Summarize", {}]',
    )
    async with service(folder, memory=False) as bot:
        return await error_of(bot.chat("Hi", request_id="new"))


async def help_(folder: Path) -> str:
    """A call for help, which only bots make: it waited when the service was stopped."""
    await used(folder)
    change(
        folder,
        "INSERT INTO mailbox (channel_id, request_id, username, body, replies, attempts,"
        " accepted_ms) VALUES (1, 'help', 'alice', ?, '[]', 0, 0)",
        records.encode(Help()),
    )
    async with service(folder, memory=False) as bot:
        return (await bot.chat("Hi", request_id="help")).content


async def answer_changed(_: Path) -> str:
    outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    growing = GrowingAnswer(outcome, Texts(MARKED))
    growing.add(0, "one")
    growing.take()
    outcome.set_result(Answer("c", "r", "chat", "another"))

    async def take() -> str:
        return growing.take()

    return await error_of(take())


CASES: dict[str, Case] = {
    "help": help_,
    "not_written": not_written,
    "turn_held": turn_held,
    "channel_suspended": channel_suspended,
    "not_handled": not_handled,
    "unreadable": unreadable,
    "answer_changed": answer_changed,
}


@pytest.mark.parametrize("key", CASES)
async def test_the_sentence_is_said_in_the_words_of_the_configuration(
    tmp_path: Path, key: str
) -> None:
    assert key_of(await CASES[key](tmp_path)) == key


async def test_the_history_has_the_error_in_english_whatever_the_room_was_told(
    tmp_path: Path,
) -> None:
    async with service(tmp_path, saying("Hello", "Rosey:"), memory=False) as bot:
        await bot.chat("Hi", username="alice")
        await error_of(bot.chat("Hi", username="bob"))
        await error_of(bot.set_persona("pirate"))
    connection = sqlite3.connect(tmp_path / "chat.db")
    rows = connection.execute("SELECT content FROM history WHERE kind = 'error'").fetchall()
    connection.close()
    assert rows == [
        ("scripted gave an empty answer.",),
        ('Persona "pirate" is unknown. There are: default, concise, technical, creative.',),
    ]


async def test_a_service_with_the_english_texts_says_what_it_always_said(tmp_path: Path) -> None:
    async with LLMService(saying("Hello")) as bot:
        await bot.chat("Hi")
        assert (await bot.reset()).content == "Conversation reset: 2 messages cleared."
