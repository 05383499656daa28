"""`rosey-llm persona list|show|try`, as a user starts them."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import COMMAND, SCRIPTED, read_until, rosey
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

PERSONAS = """
[service]
default_persona = "Pirate"
[personas.Pirate]
prompt = "You are a pirate.\\nAnswer as one."
model = "parrot"
temperature = 1.5
[personas.concise]
prompt = "One word."
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED + PERSONAS)
    return tmp_path


def configured(folder: Path, llm: LLMServer, more: str = "") -> None:
    (folder / "rosey-llm.toml").write_text(
        f"""
default_provider = "openai"
fallback_providers = []
{PERSONAS}
[providers.openai]
base_url = "{llm.url}/v1"
api_key = "sk-live-4711"
max_retries = 0
{more}
"""
    )


async def rosey_aside(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`rosey`, while the event loop of the test serves its model."""
    return await asyncio.to_thread(rosey, folder, *arguments)


def test_list_shows_what_is_special_about_each_persona(folder: Path) -> None:
    done = rosey(folder, "persona", "list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert list(lines) == ["default", "concise", "technical", "creative", "pirate"]
    assert "built in  Your name is Rosey. You are a friendly" in lines["default"]
    assert re.fullmatch(r"concise +One word\.", lines["concise"])
    expected = "default   [model parrot, temperature 1.5] You are a pirate. Answer as one."
    assert lines["pirate"].endswith(expected)
    assert max(map(len, lines.values())) <= 100


def test_list_and_show_as_json_say_the_same(folder: Path) -> None:
    listed = json.loads(rosey(folder, "persona", "list", "--json").stdout)
    pirate = json.loads(rosey(folder, "persona", "show", "PIRATE", "--json").stdout)
    assert listed[-1] == pirate
    assert pirate == {
        "name": "pirate",
        "default": True,
        "built_in": False,
        "prompt": "You are a pirate.\nAnswer as one.",
        "model": "parrot",
        "temperature": 1.5,
        "max_tokens": None,
    }
    assert [each["built_in"] for each in listed] == [True, False, True, True, False]


def test_show_says_the_whole_prompt_and_the_settings(folder: Path) -> None:
    assert rosey(folder, "persona", "show", "pirate").stdout == (
        "pirate (default)\n"
        "model:       parrot\n"
        "temperature: 1.5\n"
        "max_tokens:  as configured for the provider\n"
        "\n"
        "You are a pirate.\nAnswer as one.\n"
    )


@pytest.mark.parametrize("command", [("show", "priate"), ("try", "priate", "Hello")])
def test_an_unknown_persona_is_answered_with_all_names(
    folder: Path, command: tuple[str, ...]
) -> None:
    done = rosey(folder, "persona", *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        'Error: There is no persona "priate"; did you mean "pirate"? '
        "There are: default, concise, technical, creative, pirate.\n"
    )


async def test_try_asks_once_with_the_persona_and_keeps_nothing(
    tmp_path: Path, llm: LLMServer
) -> None:
    configured(tmp_path, llm)
    done = await rosey_aside(tmp_path, "persona", "try", "pirate", "Hello there")
    assert (done.returncode, done.stdout) == (0, "You said: Hello there\n")
    assert done.stderr == "(openai, parrot)\n"
    assert [request.body["messages"] for request in llm.requests] == [
        [
            {"role": "system", "content": "You are a pirate.\nAnswer as one."},
            {"role": "user", "content": "Hello there"},
        ]
    ]
    body = llm.requests[0].body
    assert (body["model"], body["temperature"], body["stream"]) == ("parrot", 1.5, True)
    assert [file.name for file in tmp_path.iterdir()] == ["rosey-llm.toml"]


async def test_try_takes_another_model_and_temperature(tmp_path: Path, llm: LLMServer) -> None:
    configured(tmp_path, llm)
    options = ("--model", "gpt-9", "--temperature", "0")
    await rosey_aside(tmp_path, "persona", "try", "pirate", "Hello", *options)
    body = llm.requests[0].body
    assert (body["model"], body["temperature"]) == ("gpt-9", 0)


async def test_try_shows_the_answer_while_it_grows_and_ctrl_c_ends_it(
    tmp_path: Path, llm: LLMServer
) -> None:
    configured(tmp_path, llm)
    llm.plan(Behaviour(pieces=["Ahoy, ", "mate"], hang_after=1))
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "persona", "try", "pirate", "Hello"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            assert await process.stdout.readexactly(6) == b"Ahoy, "
            process.send_signal(signal.SIGINT)
            assert await process.communicate() == (b"\n", b"")
        assert process.returncode == 130
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.parametrize(
    ("behaviour", "shown", "error"),
    [
        (Behaviour(status=401), "", "Error: OpenAI.* 401.*\n"),
        (Behaviour(text=""), "", "Error: .*empty answer.*\n"),
        (Behaviour(pieces=["Ahoy, ", "mate"], cut_after=1), "Ahoy, \n", "Error: .+\n"),
    ],
)
async def test_a_failure_is_one_clear_sentence_and_ends_with_1(
    tmp_path: Path, llm: LLMServer, behaviour: Behaviour, shown: str, error: str
) -> None:
    configured(tmp_path, llm)
    llm.plan(behaviour)
    done = await rosey_aside(tmp_path, "persona", "try", "pirate", "Hello")
    assert (done.returncode, done.stdout) == (1, shown)
    assert re.fullmatch(error, done.stderr), done.stderr
    assert "4711" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("pirate", " "), 1, "The message is empty"),
        (("pirate", "x" * 70_000), 1, "The message is too long"),
        (("pirate", "Hello", "--temperature", "nan"), 1, "temperature: expected 0 to 2"),
        (("pirate", "Hello", "--temperature", "3"), 2, "3.0 is not in the range"),
        (("pirate",), 2, "Missing argument 'TEXT'"),
    ],
)
def test_a_refused_question_is_an_error(
    folder: Path, arguments: tuple[str, ...], code: int, error: str
) -> None:
    done = rosey(folder, "persona", "try", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr


def test_the_next_provider_answers_if_the_first_cannot(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(
        'default_provider = "ollama"\nfallback_providers = ["scripted"]\n'
        '[providers.ollama]\nbase_url = "http://127.0.0.1:9"\nmax_retries = 0\n'
    )
    done = rosey(tmp_path, "persona", "try", "concise", "Hello")
    assert (done.returncode, done.stdout) == (0, "You said: Hello\n")
    assert "Provider ollama is not available; answering with scripted." in done.stderr
    assert done.stderr.endswith("(scripted, scripted)\n")


def test_a_models_text_does_not_control_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(
        SCRIPTED + '[providers.scripted]\nreply = "a\\u001b[2Jb"\n'
    )
    assert rosey(tmp_path, "persona", "try", "concise", "Hello").stdout == "a\x1b[2Jb\n"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(COMMAND, [COMMAND, "persona", "try", "concise", "Hello"])
    assert read_until(terminal, "b\r\n").startswith("a[2Jb\r\n")
    os.close(terminal)
    os.waitpid(pid, 0)
