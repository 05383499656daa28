"""`rosey-llm config texts`, and what commands say in the words of the configuration."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from engine import LLMError, LLMService
from engine.config.loading import load
from engine.texts.table import TABLE
from tests.support.command_line import SCRIPTED, rosey

pytestmark = pytest.mark.process
CONFIG = f"""{SCRIPTED}
[texts]
stopped = "Okay."
[texts.de]
conversation_reset = "Vergessen: {{number}}."
message_erased = "Gelöscht."
[[channels.rules]]
match = "*"
texts = "de"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(CONFIG)
    return tmp_path


def test_the_table_is_printed_as_it_is_said_and_can_be_pasted(folder: Path) -> None:
    for options, table, said in (
        ((), "texts", "Conversation reset: {number} messages cleared."),
        (("--language", "de"), "texts.de", "Vergessen: {number}."),
    ):
        done = rosey(folder, "config", "texts", *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"[{table}]\n")
        values = tomllib.loads(done.stdout)["texts"]
        texts = values["de"] if options else values
        assert list(texts) == list(TABLE)
        assert (texts["conversation_reset"], texts["stopped"]) == (said, "Okay.")
        (folder / "pasted.toml").write_text(done.stdout)
        assert load(folder / "pasted.toml").texts == values


def test_a_language_that_is_not_there_yet_is_printed_to_be_translated(folder: Path) -> None:
    done = rosey(folder, "config", "texts", "-l", "fr")
    assert done.returncode == 0
    assert done.stderr == "There is no [texts.fr] yet. There are: de.\n"
    assert tomllib.loads(done.stdout)["texts"]["fr"]["stopped"] == "Okay."


def test_what_is_no_language_and_a_wrong_configuration_are_refused(folder: Path) -> None:
    done = rosey(folder, "config", "texts", "-l", "d e")
    assert done.returncode == 2
    assert "expected the name of a language" in done.stderr
    (folder / "rosey-llm.toml").write_text('[texts]\nstoped = "x"\n')
    for command in (("config", "texts"), ("check",), ("run",)):
        done = rosey(folder, *command)
        assert done.returncode == 3
        assert 'texts.stoped: unknown key; did you mean "stopped"?' in done.stderr


def test_a_chat_in_the_terminal_hears_the_sentences_of_the_configuration(folder: Path) -> None:
    done = rosey(folder, "chat", said="reset\n")
    assert "Vergessen: 0." in done.stdout


async def test_a_message_that_was_erased_without_a_service_is_told_in_the_rooms_language(
    folder: Path,
) -> None:
    async with LLMService(config=folder / "rosey-llm.toml") as service:
        await service.chat("Hi", "irc", request_id="r")
    erase = ("history", "erase", "--channel", "irc", "--yes")
    done = await asyncio.to_thread(rosey, folder, *erase)
    assert done.returncode == 0, done.stderr
    async with LLMService(config=folder / "rosey-llm.toml") as service:
        with pytest.raises(LLMError, match=r"Gelöscht\."):
            await service.chat("Hi", "irc", request_id="r")
