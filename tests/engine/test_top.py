"""`rosey-llm top` in a pipe and in a terminal, with and without a running service."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest

from engine.interfaces.top import view
from engine.monitoring.top_page import memory_bytes
from tests.support.bot_urls import bot_url, port_of
from tests.support.command_line import COMMAND, rosey, utf8
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

CONFIG = """
default_provider = "scripted"
fallback_providers = []
[http]
port = 0
[nats]
port = 0
[providers.scripted]
reply = "one two {message}"
[prices]
"scripted" = { input = 1000, output = 1000 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(CONFIG)
    return tmp_path


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`rosey-llm run`, until the end of the block."""
    with subprocess.Popen(
        [COMMAND, "run"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert "is ready" in process.stdout.readline()
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=WAIT_S)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a service that runs during all tests that only watch it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "rosey-llm.toml").write_text(CONFIG)
    with running(folder):
        yield folder


def url_of(folder: Path) -> str:
    return (folder / "data" / "rosey-llm.db.http").read_text().strip()


def test_one_frame_for_a_pipe_and_the_same_as_json(folder: Path) -> None:
    with running(folder):  # its own: it counts the turns
        look_at_one_frame(folder)


def look_at_one_frame(served: Path) -> None:
    rosey(served, "chat", "--channel", "#a [red]", said="Hello there\nreset\n")
    frame = rosey(served, "top", "--once")
    assert (frame.returncode, frame.stderr) == (0, "")
    assert "\x1b" not in frame.stdout
    assert re.match(r"rosey-llm \S+  running  up \S+  process \d+  memory \d+ MiB", frame.stdout)
    assert re.search(r"^0\.0 turns/s  0 tokens/s  answered 2  ", frame.stdout, re.MULTILINE)
    assert "answered 2  failed 0  cancelled 0  waiting 0" in frame.stdout
    assert re.search(r"cost \$0\.\d\d$", frame.stdout, re.MULTILINE)
    assert re.search(r"^scripted +closed +0/10000 +0 +1 +0 +0$", frame.stdout, re.MULTILINE)
    assert re.search(r"^#a \[red\] +- +0 +2 +\S+s$", frame.stdout, re.MULTILINE)
    seen = orjson.loads(rosey(served, "top", "--json").stdout)
    assert (seen["turns"]["answered"], seen["channels"]["shown"][0]["channel"]) == (2, "#a [red]")
    assert "Hello" not in str(seen)
    assert 0 < seen["cost_usd"] < 1
    elsewhere = rosey(served.parent, "top", "--url", url_of(served), "--json")
    assert orjson.loads(elsewhere.stdout)["pid"] == seen["pid"]


def test_a_pipe_gets_one_frame_and_an_address_needs_no_scheme(served: Path) -> None:
    piped = rosey(served.parent, "top", "--url", url_of(served).removeprefix("http://"))
    assert piped.returncode == 0
    assert piped.stdout.count("CHANNEL ") == 1


@pytest.mark.parametrize("more", [(), ("--once",), ("--json",)])
def test_without_a_service_it_says_what_to_do(folder: Path, more: tuple[str, ...]) -> None:
    done = rosey(folder, "top", *more)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"Error: No service seems to run on .*\. Start it with `rosey-llm run`, .*\n", done.stderr
    )


def test_a_killed_service_is_reported_as_not_running(folder: Path) -> None:
    with running(folder) as service:
        service.kill()
        service.wait()
    done = rosey(folder, "top")
    assert done.returncode == 1
    assert re.match(
        r"Error: Nothing answers at http://127.0.0.1:\d+ \(Connection refused\)", done.stderr
    )
    assert "rosey-llm run" in done.stderr


def test_another_service_at_a_stale_address_is_not_taken_for_ours(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "rosey-llm.toml").write_text(CONFIG)
    (folder / "data").mkdir()
    with running(other):
        (folder / "data" / "rosey-llm.db.http").write_text(url_of(other))
        done = rosey(folder, "top")
    assert done.returncode == 1
    assert "belongs to another service" in done.stderr


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9", "http://127.0.0.1:port", "nonsense:", "ftp://x/", ""]
)
def test_a_wrong_address_is_an_error(folder: Path, url: str) -> None:
    done = rosey(folder, "top", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(r"Error: .+\.\n$", done.stderr)


def test_an_address_where_another_protocol_is_spoken_is_said_without_what_it_says(
    served: Path,
) -> None:
    nats = f"127.0.0.1:{port_of(bot_url(served))}"
    done = rosey(served, "top", "--url", nats)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {nats} is not the address of a rosey-llm, such as http://127.0.0.1:9464.\n"
    )


def test_http_that_is_off_is_said(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text(CONFIG.replace("[http]", "[http]\nenabled = false"))
    done = rosey(folder, "top")
    assert (done.returncode, "Set [http] enabled = true" in done.stderr) == (1, True)


def test_a_wrong_configuration_ends_with_3_and_a_wrong_option_with_2(folder: Path) -> None:
    assert rosey(folder, "top", "--interval", "0").returncode == 2
    (folder / "rosey-llm.toml").write_text("[http]\nport = 70000\n")
    assert rosey(folder, "top").returncode == 3


class Terminal:
    """`rosey-llm top` in a terminal of 24 lines."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 80) -> None:
        self.before = _as_it_is_at_first()
        self._decoder = utf8()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24"}
            os.execv(COMMAND, [COMMAND, "top", "--interval", "0.1", *arguments])
        self.shown = ""

    def read_until(self, text: str) -> None:
        """Wait until `text` is shown, after all texts waited for before."""
        self.shown = ""
        deadline_s = time.monotonic() + WAIT_S
        while text not in self.shown:
            assert time.monotonic() < deadline_s, self.shown[-3000:]
            if select.select([self._terminal], [], [], 0.5)[0]:
                self.shown += self._decoder.decode(os.read(self._terminal, 65536))

    def press(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def ended(self) -> int:
        """Return its exit code; its last output is in `shown`."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            if select.select([self._terminal], [], [], 0.02)[0]:
                try:
                    self.shown += self._decoder.decode(os.read(self._terminal, 65536))
                except OSError:  # the other side is closed
                    break
        self.after = termios.tcgetattr(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._terminal)


def _as_it_is_at_first() -> list[Any]:
    """The modes of a terminal; of the one itself they may be changed already when one looks."""
    ends = pty.openpty()
    try:
        return termios.tcgetattr(ends[0])
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def watching(folder: Path, *arguments: str, columns: int = 80) -> Iterator[Terminal]:
    terminal = Terminal(folder, *arguments, columns=columns)
    try:
        yield terminal
    finally:
        terminal.close()


ALTERNATE_SCREEN_ON, ALTERNATE_SCREEN_OFF = "\x1b[?1049h", "\x1b[?1049l"
CURSOR_SHOWN = "\x1b[?25h"


@pytest.mark.parametrize(("leave", "code"), [(b"q", 0), (b"\x03", 0), (signal.SIGTERM, 143)])
def test_it_is_live_and_leaves_the_terminal_as_it_was(
    served: Path, leave: bytes | signal.Signals, code: int
) -> None:
    with watching(served) as terminal:
        terminal.read_until("q quits")
        assert ALTERNATE_SCREEN_ON in terminal.shown
        rosey(served, "chat", "--channel", f"#live-{code}-{leave!r}", said="Hello\n")
        terminal.read_until(f"#live-{code}")
        if isinstance(leave, bytes):
            terminal.press(leave)
        else:
            os.kill(terminal.pid, leave)
        assert terminal.ended() == code
        assert ALTERNATE_SCREEN_OFF in terminal.shown
        assert CURSOR_SHOWN in terminal.shown
        assert terminal.after == terminal.before
        assert "Traceback" not in terminal.shown


def test_a_terminal_that_is_closed_ends_it_also_if_sighup_is_ignored(
    served: Path, tmp_path: Path
) -> None:
    keys, side = pty.openpty()
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [COMMAND, "top", "--interval", "0.1"],
            cwd=served,
            stdin=side,
            stdout=side,
            stderr=file,
            env=os.environ | {"TERM": "xterm"},
            preexec_fn=_own_a_terminal_without_sighup,
        )
    os.close(side)
    shown = ""
    deadline_s = time.monotonic() + WAIT_S
    while "q quits" not in shown:
        assert time.monotonic() < deadline_s, shown
        if select.select([keys], [], [], 0.5)[0]:
            shown += os.read(keys, 65536).decode(errors="replace")
    os.close(keys)
    assert process.wait(timeout=WAIT_S) in (0, 1)
    assert "Traceback" not in errors.read_text()


def _own_a_terminal_without_sighup() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_service_that_goes_away_is_shown_as_gone_and_found_again(folder: Path) -> None:
    with watching_of_two_lives(folder) as terminal:
        terminal.read_until("Trying again")
        with running(folder):
            terminal.read_until("running")
            terminal.press(b"q")
            assert terminal.ended() == 0


@contextmanager
def watching_of_two_lives(folder: Path) -> Iterator[Terminal]:
    """A terminal whose service is killed once it is shown."""
    with running(folder) as service:
        terminal = Terminal(folder)
        terminal.read_until("running")
        service.kill()
        service.wait()
    try:
        yield terminal
    finally:
        terminal.close()


async def speak_in_rooms(folder: Path, number: int) -> None:
    nc = await nats.connect(bot_url(folder))
    for room in range(number):
        chat = {"args": ["Hello"], "channel_id": f"#room-{room:02}", "username": "alice"}
        await nc.request("rosey.command.chat", orjson.dumps(chat), timeout=WAIT_S)
    await nc.close()


def test_it_is_scrolled_sorted_and_filtered_in_sixty_columns(served: Path) -> None:
    asyncio.run(speak_in_rooms(served, 30))
    with watching(served, columns=60) as terminal:
        terminal.read_until("measuring ...")
        terminal.read_until(" turns/s")
        terminal.read_until(" more")
        terminal.press(b"/room-2")
        terminal.read_until("channels with: room-2_")
        terminal.press(b"\rssss")
        terminal.read_until("by name with room-2 (Esc: all)")
        terminal.read_until("#room-20")
        terminal.press(b"q")
        assert terminal.ended() == 0


HONEST = "10\u202f000\xa0km\u3000👩‍👧"


def test_no_name_steers_the_terminal(served: Path) -> None:
    rosey(served, "chat", "--channel", "odd\x1b[31m\nname", said="Hello\n")
    frame = rosey(served, "top", "--once").stdout
    assert "\x1b" not in frame
    assert "odd␛[31m␊name" in frame


def test_a_name_keeps_its_spaces_and_joined_letters(served: Path) -> None:
    rosey(served, "chat", "--channel", HONEST, said="Hello\n")
    assert HONEST in rosey(served, "top", "--once").stdout


def test_durations_are_short() -> None:
    shown = [view.duration(s) for s in (0, 0.44, 12.6, 200, 3600 * 5 + 720, 86400 * 2 + 3600 * 4)]
    assert shown == ["0.0s", "0.4s", "12s", "3m20s", "5h12m", "2d4h"]


def test_a_system_without_proc_has_no_figure_for_memory(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path / "none") is None
    (tmp_path / "statm").write_text("9 2 1 1 0 1 0\n")
    assert memory_bytes(tmp_path / "statm") == 2 * os.sysconf("SC_PAGE_SIZE")
