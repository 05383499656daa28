"""A NATS server answers on the port of the embedded one: a person is asked, `run` ends."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import tomlkit

from engine.config.setup.interview import FoundNats, Interview
from tests.fakes.llm_server import LLMServer
from tests.support.bot_urls import bot_url, port_of
from tests.support.chat_terminal import CTRL_D, ENTER, READY, ChatTerminal
from tests.support.command_line import COMMAND
from tests.support.nats_logins import logins
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot
from tests.support.service_process import configuration

ADDRESS = "nats://127.0.0.1:4222"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(tmp_path, "") as server:
        yield server


def configure(folder: Path, llm: LLMServer, server: Server) -> None:
    config = configuration(llm, nats={"port": server.port})
    (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))


def talk(folder: Path, question: str, answers: list[str]) -> str:
    """Answer what a chat asks before its prompt, and ask once; return all that is shown."""
    chat = ChatTerminal(folder, columns=200)
    try:
        for answer in answers:
            chat.wait_for(question)
            chat.press(answer + ENTER)
        chat.wait_for(READY)
        chat.press("Hello" + ENTER)
        chat.wait_for("Rosey: You said: Hello")
        chat.wait_for(READY)
        assert (folder / "data" / "nats" / "url").exists() == (answers[-1:] != [""])
        chat.press(CTRL_D)
        assert chat.ended() == 0
        return chat.words
    finally:
        chat.close()


@pytest.mark.process
async def test_a_chat_uses_the_server_that_answers_there_if_the_person_says_so(
    tmp_path: Path, llm: LLMServer, server: Server
) -> None:
    configure(tmp_path, llm, server)
    bot = await Bot.connect(server.url)
    question = f"A NATS server answers at {server.url}. Use it? [Y/n]"
    shown = await asyncio.to_thread(talk, tmp_path, question, ["what", ""])
    assert "Please answer yes or no." in shown
    assert f'To keep that, write this into rosey-llm.toml: [nats] url = "{server.url}"' in shown
    assert [each["content"] for each in await bot.outcomes(1)] == ["You said: Hello"]
    await bot.close()


@pytest.mark.process
async def test_a_chat_goes_beside_the_server_if_the_person_does_not_want_it(
    tmp_path: Path, llm: LLMServer, server: Server
) -> None:
    configure(tmp_path, llm, server)
    shown = await asyncio.to_thread(talk, tmp_path, "Use it? [Y/n]", ["n"])
    assert "The embedded server takes the next free port; [nats] port = 0 keeps that." in shown
    assert port_of(bot_url(tmp_path)) != server.port


@pytest.mark.process
async def test_a_chat_does_not_ask_about_a_server_that_wants_a_login(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with Server(tmp_path, logins()) as server:
        configure(tmp_path, llm, server)
        shown = await asyncio.to_thread(talk, tmp_path, "asks for a login. To use it, set", [])
    assert "but asks for a login. To use it, set [nats] url, user and password." in shown


@pytest.mark.process
async def test_without_a_terminal_run_ends_with_the_two_lines(
    tmp_path: Path, llm: LLMServer, server: Server
) -> None:
    configure(tmp_path, llm, server)
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "run"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(WAIT_S):
        said, errors = await process.communicate()
    assert (process.returncode, said) == (3, b"")
    assert f'\n[nats]\nurl = "{server.url}"\n' in errors.decode()


def hold(folder: Path, found: FoundNats | None, answer: str | None) -> tuple[str, str]:
    """Answer the question about NATS; return it with its default, and the file's text."""
    asked = []

    def ask(question: str, default: str | None, take: object) -> None:
        assert callable(take)
        about_nats = "Where is NATS?" in question
        if about_nats:
            asked.append(f"{question} [{default}]")
        take(answer if about_nats and answer is not None else default)

    text = Interview(ask, folder, found=found).hold().text
    return asked[0], text


def test_init_offers_the_server_that_answers(tmp_path: Path) -> None:
    question, text = hold(tmp_path, FoundNats(ADDRESS, needs_login=False), None)
    assert question.startswith(f"A NATS server answers at {ADDRESS}.\nWhere is NATS? embedded")
    assert question.endswith(f" [{ADDRESS}]")
    assert f'\nurl = "{ADDRESS}"' in text


def test_init_goes_beside_the_server_if_the_embedded_one_is_wanted(tmp_path: Path) -> None:
    found = FoundNats(ADDRESS, needs_login=True)
    question, text = hold(tmp_path, found, None)
    assert "which asks for a login (set [nats] user and password afterwards)" in question
    assert question.endswith(" [embedded]")
    assert ('\nurl = "embedded"' in text, "\nport = 0 " in text) == (True, True)


def test_init_asks_as_always_if_no_server_answers(tmp_path: Path) -> None:
    question, text = hold(tmp_path, None, None)
    assert question.startswith("Where is NATS? embedded")
    assert "\nport = 4222 " in text
