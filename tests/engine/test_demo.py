"""`rosey-llm demo` in a pipe and on a terminal: what it proves, and that it leaves nothing."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.errors import CannotStart
from engine.interfaces.demo import proof, script
from engine.interfaces.demo.command import RunningCommand
from engine.interfaces.demo.proof import NotAsPromised
from tests.support.command_line import COMMAND, utf8
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.process

FAST = ("demo", "--speed", "20")
ALTERNATE_SCREEN_OFF, CURSOR_SHOWN = "\x1b[?1049l", "\x1b[?25h"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files; at the end nothing may be in it, or run in it."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert [each for each in commands() if bytes(tmp_path) in each] == []


def commands() -> Iterator[bytes]:
    """Yield the command line of each process of this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            yield file.read_bytes()


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(folder)
    yield terminal
    terminal.kill()


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "TERM": "xterm-256color"}


class Terminal:
    """The demo on a terminal; `shown` is all that it wrote."""

    def __init__(self, folder: Path, columns: int = 80, lines: int = 24) -> None:
        self.shown = ""
        self._decoder = utf8()
        size = {"COLUMNS": str(columns), "LINES": str(lines)}
        self.pid, self.side = pty.fork()
        if self.pid == 0:
            os.execve(COMMAND, [COMMAND, *FAST], environment(folder) | size)

    def read_until(self, text: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while text not in self.shown and self._read():
            assert time.monotonic() < deadline_s, self.shown[-3000:]
        assert text in self.shown

    def ended(self) -> int:
        """Return its exit code."""
        while self._read():
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        self.modes = termios.tcgetattr(self.side)
        return code

    def kill(self) -> None:
        """End it if a test failed, and close the terminal."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        os.close(self.side)

    def _read(self) -> bool:
        """Read what comes within a moment; return whether the demo may write more."""
        if select.select([self.side], [], [], 0.5)[0]:
            try:
                self.shown += self._decoder.decode(os.read(self.side, 65536))
            except OSError:  # the other side is closed
                return False
        return True


def test_in_a_pipe_it_prints_what_happened_and_what_the_history_proves(folder: Path) -> None:
    done = subprocess.run(
        [COMMAND, *FAST],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    killed = re.search(
        r"engine  \$ kill -9 (\d+)  It dies in the middle of \d answers", done.stdout
    )
    assert killed
    assert re.search(
        r"#lobby  Rosey: Your question .* in the middle of a -- cut off\n", done.stdout
    )
    assert "engine  4 questions wait  on the disk" in done.stdout
    for exchange in script.ALL:
        assert done.stdout.count(f" Rosey: {exchange.answer}\n") == 1
    assert f"killed     process {killed[1]}, after 16 words of its answer" in done.stdout
    assert "✓ prompt  exact: its digest matches" in done.stdout
    assert "✓ history 7 questions, 7 answers: none lost, none doubled" in done.stdout
    assert re.search(r"verified: 14 rows, none was changed; seal 14:[0-9a-f]{16}", done.stdout)


def test_on_a_terminal_it_shows_the_turn_on_the_audit_page_until_enter_is_pressed(
    terminal: Terminal,
) -> None:
    before = termios.tcgetattr(terminal.side)
    program = "rosey-llm" if shutil.which("rosey-llm") else os.path.relpath(COMMAND)
    terminal.read_until(f"Next: {program} chat")
    assert ALTERNATE_SCREEN_OFF in terminal.shown
    found = re.search(r"(http://127\.0\.0\.1:\d+/turn/\d+)\?token=[\w-]+", terminal.shown)
    assert found
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.open(found[0], timeout=WAIT_S).close()
    with browser.open(found[1], timeout=WAIT_S) as page:
        text = page.read().decode()
    assert script.CUT.question in text
    assert script.CUT.answer in text
    assert "exactly what the model was given" in text
    os.write(terminal.side, b"\r")
    assert terminal.ended() == 0
    assert terminal.modes == before


@pytest.mark.parametrize(
    "shown",
    [
        "starting",
        pytest.param("is ready", marks=pytest.mark.real),
        "kill -9",
        pytest.param("has found", marks=pytest.mark.real),
    ],
)
def test_ctrl_c_ends_it_at_every_moment(terminal: Terminal, shown: str) -> None:
    terminal.read_until(shown)
    os.write(terminal.side, b"\x03")
    assert terminal.ended() == 130
    assert ALTERNATE_SCREEN_OFF in terminal.shown
    assert CURSOR_SHOWN in terminal.shown
    assert "Traceback" not in terminal.shown


@pytest.mark.real
def test_ctrl_c_on_the_last_page_is_as_good_as_enter(terminal: Terminal) -> None:
    terminal.read_until("Enter ends")
    os.write(terminal.side, b"\x03")
    assert terminal.ended() == 0


@pytest.mark.real
def test_a_signal_ends_it_as_cleanly(terminal: Terminal) -> None:
    terminal.read_until("is ready")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.ended() == 128 + signal.SIGTERM
    assert ALTERNATE_SCREEN_OFF in terminal.shown


@pytest.mark.real
@pytest.mark.parametrize("shown", ["is ready", "Enter ends"])
def test_a_terminal_that_is_closed_ends_it(folder: Path, shown: str) -> None:
    terminal = Terminal(folder)
    terminal.read_until(shown)
    os.close(terminal.side)
    os.waitpid(terminal.pid, 0)


@pytest.mark.real
def test_a_reader_that_leaves_ends_it(folder: Path) -> None:
    with subprocess.Popen(
        [COMMAND, *FAST],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "rosey-llm run" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(WAIT_S) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(("columns", "lines"), [(79, 24), (80, 23)])
def test_a_terminal_that_is_too_small_is_refused(folder: Path, columns: int, lines: int) -> None:
    terminal = Terminal(folder, columns, lines)
    code = terminal.ended()
    terminal.kill()
    assert code == 3
    assert terminal.shown.replace("\r", "") == (
        "rosey-llm cannot start: The demo needs a terminal of 80 by 24 characters; this one has "
        f"{columns} by {lines}. Make it larger, or type `rosey-llm demo | cat`.\n"
    )


async def test_a_command_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text("[nats]\nport = 70000\n")
    with pytest.raises(CannotStart, match=r"^rosey-llm\.toml: nats\.port: "):
        await RunningCommand.start(tmp_path, "ready", "run", "--config", "rosey-llm.toml")


async def test_what_the_history_does_not_prove_is_said(house: House) -> None:
    await house.open()
    cut, missing = script.CUT, script.WAITING
    await house.bot.ask(cut.question, cut.room, request_id=cut.request_id)
    found = proof.prove(Path(house.settings.storage.path), (cut, missing), cut)
    assert found.doubts == [
        f"lobby-2 has another answer than the model gave: You said: {cut.question}",
        "lobby-3 has 0 outcomes instead of one.",
    ]
    with pytest.raises(NotAsPromised, match="does not have the turn lobby-3"):
        proof.prove(Path(house.settings.storage.path), (cut, missing), missing)
