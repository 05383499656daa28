"""Every command through its real entry point, as a user starts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import chat_terminal
from tests.support.chat_terminal import CTRL_C, CTRL_D
from tests.support.command_line import COMMAND, SCRIPTED, rosey, running
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    return tmp_path


def test_version_and_help(tmp_path: Path) -> None:
    assert rosey(tmp_path, "--version").stdout.startswith("rosey-llm, version 0.")
    for command in ("run", "chat", "check"):
        assert f"Usage: rosey-llm {command}" in rosey(tmp_path, command, "--help").stdout
        assert command in rosey(tmp_path, "--help").stdout


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


def test_a_wrong_configuration_is_an_error_and_ends_with_3(folder: Path) -> None:
    (folder / "wrong.toml").write_text("[providers.openai]\ntimeout = 'soon'")
    for command in ("run", "chat", "check"):
        done = rosey(folder, command, "--config", "wrong.toml")
        assert done.returncode == 3
        assert done.stderr == (
            "rosey-llm cannot start: wrong.toml: providers.openai.timeout:"
            ' expected a number, got "soon"\n'
        )


@pytest.mark.parametrize("command", ["--help", "history channels", "persona list", "check"])
def test_an_output_that_cannot_be_written_is_an_error_and_ends_with_1(
    folder: Path, command: str
) -> None:
    rosey(folder, "chat", said="Hello\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *command.split()],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "Error: cannot write the output: No space left on device.\n",
    )


@pytest.mark.parametrize("command", ["top --once", "history channels"])
def test_letters_that_the_locale_lacks_are_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with running(folder):
        rosey(folder, "chat", "--channel", "Zoë 🎉", said="Hello\n")
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        done = rosey(folder, *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert "Zo? ?" in done.stdout


@pytest.mark.parametrize("command", ["chat", "history channels", "history show nowhere"])
def test_a_command_works_with_closed_streams(folder: Path, command: str) -> None:
    rosey(folder, "chat", said="Hello\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{COMMAND}' {command} <&- >&-"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    nowhere = command.endswith("nowhere")
    assert (done.returncode, "Traceback" in done.stderr) == (int(nowhere), False)
    assert ('There is no channel "nowhere".' in done.stderr) == nowhere


def test_a_disabled_service_says_so(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text("enabled = false")
    done = rosey(folder, "run")
    assert (done.returncode, "is disabled" in done.stdout) == (0, True)


def test_check_prints_what_works(folder: Path) -> None:
    done = rosey(folder, "check")
    assert done.returncode == 0
    assert re.search(r"^NATS +ok", done.stdout, re.MULTILINE)
    assert re.search(r"^database +ok", done.stdout, re.MULTILINE)
    assert re.search(r"^provider scripted +ok", done.stdout, re.MULTILINE)


def test_check_ends_with_1_if_the_service_cannot_answer(folder: Path) -> None:
    config = SCRIPTED.replace("scripted", "ollama") + (
        '[providers.ollama]\nbase_url = "http://127.0.0.1:9"\n[providers.openai]\napi_key = ""\n'
    )
    (folder / "rosey-llm.toml").write_text(config)
    done = rosey(folder, "check")
    assert done.returncode == 1
    assert re.search(r"^provider ollama +FAILS +.*127.0.0.1:9", done.stdout, re.MULTILINE)
    assert re.search(r"^provider openai +off +.*OPENAI_API_KEY", done.stdout, re.MULTILINE)
    assert "cannot answer" in done.stdout


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
            while chat.modes_now() != chat.modes:
                time.sleep(0.01)
            chat.press(CTRL_C)
            if press == 0:
                chat.wait_for("press Ctrl-C again")
        if presses == 1:
            (folder / "go").touch()
        assert chat.ended() == code


def test_check_tries_the_embedded_nats(folder: Path) -> None:
    config = SCRIPTED + 'store_dir = "/proc/nats"\n'
    (folder / "rosey-llm.toml").write_text(config)
    done = rosey(folder, "check")
    assert done.returncode == 1
    assert re.search(r"^NATS +FAILS +.*/proc.*Set \[nats\] store_dir", done.stdout, re.MULTILINE)


def test_check_survives_a_provider_that_raises(folder: Path) -> None:
    (folder / "strangers.py").write_text(
        "from providers.scripted import ScriptedProvider\n"
        "class Stranger(ScriptedProvider):\n"
        "    async def status(self):\n"
        "        raise ZeroDivisionError('oh')\n"
    )
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"odd"') + '[providers.odd]\nkind = "strangers:Stranger"\n'
    )
    done = rosey(folder, "check")
    assert done.returncode == 1
    assert re.search(r"^provider odd +FAILS +.*ZeroDivisionError", done.stdout, re.MULTILINE)


def test_check_starts_a_provider_before_it_asks_how_it_is_and_closes_it(folder: Path) -> None:
    (folder / "strangers.py").write_text(
        "from providers.base import Status\n"
        "from providers.scripted import ScriptedProvider\n"
        "class Stranger(ScriptedProvider):\n"
        "    async def start(self):\n"
        "        self.file = open('session', 'w')\n"
        "    async def status(self):\n"
        "        return Status(not self.file.closed)\n"
        "    async def aclose(self):\n"
        "        self.file.write('closed')\n"
        "        self.file.close()\n"
    )
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"odd"') + '[providers.odd]\nkind = "strangers:Stranger"\n'
        '[providers.spare]\nkind = "scripted"\nfail = "provider_auth"\n'
    )
    done = rosey(folder, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^provider odd +ok", done.stdout, re.MULTILINE)
    assert re.search(r"^provider spare +off", done.stdout, re.MULTILINE)
    assert (folder / "session").read_text() == "closed"


def test_check_names_a_provider_that_does_not_start(folder: Path) -> None:
    (folder / "strangers.py").write_text(
        "import asyncio\n"
        "from providers.scripted import ScriptedProvider\n"
        "class Stranger(ScriptedProvider):\n"
        "    async def start(self):\n"
        "        await asyncio.Event().wait()\n"
    )
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"odd"')
        + '[providers.odd]\nkind = "strangers:Stranger"\ntotal_timeout = 0.2\n'
    )
    done = rosey(folder, "check")
    assert (done.returncode, done.stderr) == (1, "")
    assert "did not start within 0.2 s" in done.stdout


def test_a_missing_provider_module_is_named_with_the_folders_searched(
    folder: Path,
) -> None:
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"mine"') + '[providers.mine]\nkind = "my.shout:Shout"\n'
    )
    done = rosey(folder, "run")
    assert done.returncode == 3
    assert done.stderr == (
        "rosey-llm cannot start: rosey-llm.toml: providers.mine.kind: cannot import "
        f'"my.shout:Shout": no module "my" is installed or in {folder}; '
        "put my/shout.py there\n"
    )


def test_a_file_beside_the_configuration_hides_no_other_module(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"mine"') + '[providers.mine]\nkind = "mine:Mine"\n'
    )
    (folder / "mine.py").write_text(
        "from providers.scripted import ScriptedProvider\nclass Mine(ScriptedProvider):\n    pass\n"
    )
    for name in ("storage", "datetime", "nats"):
        (folder / f"{name}.py").write_text("1 / 0\n")
    done = rosey(folder, "chat", said="Hello")
    assert (done.stdout, done.stderr) == ("You said: Hello\n", "")
