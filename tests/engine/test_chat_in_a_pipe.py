"""`rosey-llm chat` in a pipe: its answers and errors, Ctrl-C, and a service that it shares."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import chat_terminal
from tests.support.chat_terminal import CTRL_C, CTRL_D
from tests.support.command_line import COMMAND, SCRIPTED, rosey, running
from tests.support.patience import WAIT_S, blocking_until

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    return tmp_path


def test_chat_answers_each_line_of_a_pipe_and_ends_with_0(folder: Path) -> None:
    done = rosey(folder, "chat", said="Hello\n\n!chat persona concise\nreset\nlast, no newline")
    assert done.stdout.splitlines() == [
        "You said: Hello",
        "Persona: concise from now on.",
        "Conversation reset: 2 messages cleared.",
        "You said: last, no newline",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_gets_every_character_of_an_answer(folder: Path) -> None:
    reply = "10\u202f000\xa0km\u3000नमस्\u200dते مى\u200cרץ \u202e\x1b[2J\x07"
    (folder / "rosey-llm.toml").write_text(
        f"{SCRIPTED}[providers.scripted]\nreply = {json.dumps(reply)}\n"
    )
    assert rosey(folder, "chat", said="Hello\n").stdout == f"{reply}\n"


def test_chat_prints_errors_and_ends_with_1(folder: Path) -> None:
    done = rosey(folder, "chat", said="persona pirate\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'Error: Persona "pirate" is unknown.' in done.stderr


def test_chat_continues_the_conversation(folder: Path) -> None:
    rosey(folder, "chat", "--channel", "a", "--user", "alice", said="persona technical\n")
    assert "Persona: technical." in rosey(folder, "chat", "--channel", "a", said="persona\n").stdout
    assert "Persona: default." in rosey(folder, "chat", "--channel", "b", said="persona\n").stdout


def test_nothing_configured_is_answered_by_the_embedded_model(tmp_path: Path) -> None:
    config = """
[providers.ollama]
base_url = "http://127.0.0.1:9"
[providers.local]
max_tokens = 24
[http]
port = 0
[nats]
port = 0
"""
    (tmp_path / "rosey-llm.toml").write_text(config)
    done = rosey(tmp_path, "chat", said="What is Python?\nAnd what is NATS?\n")
    assert done.returncode == 0
    assert len(done.stdout.split()) > 10
    assert done.stderr.count("Provider ollama is not available; answering with local.") == 1


def test_chat_uses_the_service_that_runs_and_a_second_service_is_refused(folder: Path) -> None:
    with running(folder) as ready:
        assert ready.startswith("rosey-llm is ready: NATS nats://127.0.0.1:")
        assert rosey(folder, "chat", said="Hello\n").stdout == "You said: Hello\n"
        assert "in use by a running service" in rosey(folder, "check").stdout
        second = rosey(folder, "run")
    assert second.returncode == 3
    assert "is in use by rosey-llm, process" in second.stderr


@contextmanager
def chatting(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `rosey-llm chat` with open pipes; kill it at the end if it still runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [COMMAND, "chat", *arguments], cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], line: str) -> str:
    """Send a line and return the next line of output."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def slow(folder: Path, words: int) -> None:
    reply = "word " * words
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED + f'[providers.scripted]\nreply = "{reply}"\nchunk_delay = 0.05\n'
    )


def test_ctrl_c_ends_a_chat_in_a_pipe_with_130_and_without_a_trace(folder: Path) -> None:
    with chatting(folder) as chat:
        assert say(chat, "Hello") == "You said: Hello\n"
        chat.send_signal(signal.SIGINT)
        # Not `communicate`: it closes the pipe, and the end of the input may then come first.
        assert chat.wait(timeout=WAIT_S) == 130
        assert chat.communicate() == ("", "")


def test_ctrl_c_in_a_pipe_stops_the_answer_that_is_written(folder: Path) -> None:
    slow(folder, 10_000)
    with chatting(folder) as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("Hello\n")
        chat.stdin.flush()
        assert chat.stdout.read(4) == "word"
        chat.send_signal(signal.SIGINT)
        assert chat.communicate(timeout=WAIT_S)[1] == ""
        assert chat.returncode == 130


def test_bad_input_is_one_failed_line_and_the_next_is_answered(folder: Path) -> None:
    said = b"a\xffb\n" + b"x" * 3_000_000 + b"\nlast\r\n"
    done = subprocess.run(
        [COMMAND, "chat"], cwd=folder, input=said, capture_output=True, timeout=WAIT_S, check=False
    )
    assert done.stdout.decode() == "You said: a\ufffdb\nYou said: last\n"
    assert re.fullmatch(r"Error: The text is too long: .*\n", done.stderr.decode())
    assert done.returncode == 1


def test_chats_that_start_at_once_are_all_answered_whatever_url_was_left(folder: Path) -> None:
    store = folder / "data" / "nats"
    store.mkdir(parents=True)
    (store / "url").write_text("nats://127.0.0.1:9")
    with chatting(folder) as one, chatting(folder) as two, chatting(folder) as three:
        for chat in (one, two, three):
            assert say(chat, "Hello") == "You said: Hello\n"


def test_a_chat_takes_over_where_the_one_that_had_the_service_leaves(folder: Path) -> None:
    with chatting(folder) as first:
        assert say(first, "Hello") == "You said: Hello\n"
        with chatting(folder, "--channel", "b") as second:
            assert say(second, "Hi") == "You said: Hi\n"
            assert first.communicate(timeout=WAIT_S) == ("", "")
            assert say(second, "Still there?") == "You said: Still there?\n"
            assert second.communicate(timeout=WAIT_S) == ("", "")
            assert second.returncode == 0


def test_a_chat_says_that_the_service_died_before_it_answered(folder: Path) -> None:
    slow(folder, 10_000)
    with subprocess.Popen(
        [COMMAND, "run"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline()
        with chatting(folder) as chat:
            assert chat.stdin is not None
            assert chat.stdout is not None
            chat.stdin.write("Hello\n")
            chat.stdin.flush()
            assert chat.stdout.read(4) == "word"
            service.kill()
            _, errors = chat.communicate(timeout=WAIT_S)
            assert errors == "Error: The service stopped before it answered.\n"
            assert chat.returncode == 1


# Stands still in the middle of its answer, until there is a file "go".
HELD = """
import asyncio
from pathlib import Path
from providers.scripted import ScriptedProvider

async def script(messages, options):
    yield "word "
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    yield "word"

class Held(ScriptedProvider):
    def __init__(self, config, name=None):
        super().__init__(config, name=name, script=script)
"""


@pytest.mark.parametrize(("presses", "code"), [(1, 0), (2, 130)])
def test_ctrl_c_while_leaving_warns_and_a_second_one_forces_the_end(
    folder: Path, presses: int, code: int
) -> None:
    (folder / "held.py").write_text(HELD)
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"held"') + '[providers.held]\nkind = "held:Held"\n'
    )
    with chat_terminal.chatting(folder) as chat, chatting(folder, "--channel", "b") as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("Hello\n")
        other.stdin.flush()
        assert other.stdout.read(4) == "word"
        chat.press(CTRL_D)
        for press in range(presses):
            # Once the terminal is given back, the chat is leaving.
            blocking_until(lambda: chat.modes_now() == chat.modes)
            chat.press(CTRL_C)
            if press == 0:
                chat.wait_for("press Ctrl-C again")
        if presses == 1:
            (folder / "go").touch()
        assert chat.ended() == code
