"""SIGHUP and `rosey-llm reload`, with the real command and a real service."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command_line import COMMAND, rosey
from tests.support.patience import WAIT_S, blocking_until

pytestmark = pytest.mark.process

PIRATE = '[personas.pirate]\nprompt = "Arr."\n'
SLOW = '[providers.scripted]\nreply = "one two three {message}"\nchunk_delay = 0.1\n'


def configured(folder: Path, more: str = "") -> Path:
    file = folder / "rosey-llm.toml"
    file.write_text(
        'default_provider = "scripted"\nfallback_providers = []\n'
        "[http]\nenabled = false\n[nats]\nport = 0\n" + more
    )
    return file


class Service:
    """A running `rosey-llm run` and its output."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def signal(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            self.process.send_signal(number)

    def ready(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def logged(self, text: str) -> str:
        """Return the next line of its log that contains this text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended without a word of {text}")

    def ended(self) -> int:
        return self.process.wait(timeout=WAIT_S)


@contextmanager
def started(
    folder: Path, *arguments: str, before: Callable[[], object] | None = None
) -> Iterator[Service]:
    with subprocess.Popen(
        [COMMAND, "run", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    ) as process:
        try:
            yield Service(process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=WAIT_S)
                finally:
                    process.kill()


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Service]:
    with started(folder, *arguments) as service:
        assert "is ready" in service.ready()
        yield service


def test_sighup_applies_the_file_and_refuses_one_with_an_error(tmp_path: Path) -> None:
    file = configured(tmp_path)
    with running(tmp_path) as service:
        configured(tmp_path, PIRATE)
        service.signal(signal.SIGHUP)
        assert "personas: pirate added" in service.logged("was reloaded")
        configured(tmp_path, "[service]\nbot_name = 3\n")
        service.signal(signal.SIGHUP)
        line = service.logged("was not reloaded")
        assert f"{file}: service.bot_name: expected" in line
        assert rosey(tmp_path, "reload").returncode == 1
        configured(tmp_path, PIRATE)
        done = rosey(tmp_path, "chat", said="persona pirate\nHello\n")
        assert done.stdout == "Persona: pirate from now on.\nYou said: Hello\n"


def test_a_sighup_before_the_service_is_ready_waits_for_it(tmp_path: Path) -> None:
    configured(tmp_path)

    def held_back() -> None:
        # Python itself takes a moment to start; a shell's `trap '' HUP` would lose the signal.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})

    with started(tmp_path, before=held_back) as service:
        service.signal(signal.SIGHUP)
        assert "is ready" in service.ready()
        service.logged("The configuration was reloaded: nothing has changed")


def test_many_sighups_are_all_handled_and_none_ends_the_service(tmp_path: Path) -> None:
    configured(tmp_path)
    with running(tmp_path) as service:
        for number in range(20):
            configured(tmp_path, f'[personas.p{number}]\nprompt = "Be."\n')
            service.signal(signal.SIGHUP, signal.SIGHUP)
        while "p19 added" not in service.logged("was reloaded"):
            pass


def test_a_sighup_while_it_drains_does_not_end_it(tmp_path: Path) -> None:
    configured(tmp_path, SLOW)
    with (
        running(tmp_path) as service,
        subprocess.Popen(
            [COMMAND, "chat"],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as chat,
    ):
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("Hello " * 10 + "\n")
        chat.stdin.flush()
        assert chat.stdout.read(3) == "one"
        service.signal(signal.SIGTERM)
        assert "is draining" in service.ready()
        service.signal(*[signal.SIGHUP] * 3)
        assert service.ended() == 0
        chat.stdin.close()
        assert chat.stdout.read().endswith("Hello Hello\n")


def test_a_reload_applies_the_log_level(tmp_path: Path) -> None:
    configured(tmp_path, '[log]\nlevel = "error"\n')
    with running(tmp_path) as service:
        service.signal(signal.SIGHUP)  # says nothing
        configured(tmp_path, '[log]\nlevel = "info"\n')
        service.signal(signal.SIGHUP)
        assert 'log.level = "info"' in service.logged("was reloaded")


def test_reload_prints_what_has_changed(tmp_path: Path) -> None:
    configured(tmp_path)
    with running(tmp_path):
        done = rosey(tmp_path, "reload")
        assert (done.returncode, done.stdout, done.stderr) == (0, "nothing has changed\n", "")
        file = configured(tmp_path, SLOW + PIRATE)
        file.write_text(file.read_text().replace("port = 0", "port = 4321"))
        done = rosey(tmp_path, "reload")
        assert done.stdout.splitlines() == [
            "personas: pirate added",
            "providers: scripted changed",
            "needs a restart: nats.port",
        ]
        assert (done.returncode, done.stderr) == (0, "")


def test_reload_says_why_a_file_is_refused(tmp_path: Path) -> None:
    configured(tmp_path)
    with running(tmp_path):
        for wrong in ("[service]\nbot_nam = ''", "[service", "[storage]\npath = 3"):
            file = configured(tmp_path, wrong)
            done = rosey(tmp_path, "reload")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("Not reloaded: ")
            assert done.stderr.count("\n") == 1
            assert file.name in done.stderr


def test_reload_reads_the_file_that_the_service_was_started_with(tmp_path: Path) -> None:
    configured(tmp_path)
    (tmp_path / "other.toml").write_text(
        '[storage]\npath = "data/rosey-llm.db"\n[personas.nun]\nprompt = "Peace."\n'
    )
    with running(tmp_path, "--config", "rosey-llm.toml"):
        configured(tmp_path, PIRATE)
        done = rosey(tmp_path, "reload", "--config", "other.toml")
        assert done.stdout == "personas: pirate added\n"
        (tmp_path / "rosey-llm.toml").unlink()
        done = rosey(tmp_path, "reload", "--config", "other.toml")
        assert done.returncode == 1
        assert "rosey-llm.toml: cannot be read" in done.stderr


def test_reload_without_a_service_says_what_to_do(tmp_path: Path) -> None:
    configured(tmp_path)
    done = rosey(tmp_path, "reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No service runs on" in done.stderr
    assert "`rosey-llm run`" in done.stderr
    with running(tmp_path):
        pass
    assert rosey(tmp_path, "reload").stderr == done.stderr
    gone = rosey(tmp_path, "reload", "--config", "gone.toml")
    assert gone.returncode == 1
    assert "gone.toml: cannot be read" in gone.stderr


def test_reload_ends_when_the_service_does_and_leaves_nothing_behind(tmp_path: Path) -> None:
    configured(tmp_path)
    with running(tmp_path) as service:
        stop_between_two_commits(service, tmp_path)
        with subprocess.Popen(
            [COMMAND, "reload"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as asking:
            blocking_until(lambda: bool(orders(tmp_path)))
            service.signal(signal.SIGKILL)
            assert asking.stderr is not None
            assert "The service stopped, or did not answer" in asking.stderr.read()
        assert asking.returncode == 1
    assert orders(tmp_path) == []


@contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "data" / "rosey-llm.db", isolation_level=None, timeout=0)
    try:
        yield connection
    finally:
        connection.close()


def orders(folder: Path) -> list[tuple[str]]:
    with database(folder) as connection:
        return connection.execute("SELECT kind FROM orders WHERE done_ms IS NULL").fetchall()


def stop_between_two_commits(service: Service, folder: Path) -> None:
    """Send SIGSTOP at a moment at which the service does not lock the database."""
    for _ in range(100):
        service.signal(signal.SIGSTOP)
        until_stopped(service.process.pid)
        with contextlib.suppress(sqlite3.OperationalError), database(folder) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return
        service.signal(signal.SIGCONT)
    raise AssertionError("it is always at a commit")


def until_stopped(pid: int) -> None:
    """Wait until every thread has stopped; the signal takes time."""
    threads = Path(f"/proc/{pid}/task")
    blocking_until(lambda: {_state(task) for task in threads.iterdir()} == {"T"})


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return "T"


def test_a_service_drains_when_its_terminal_is_closed(tmp_path: Path) -> None:
    configured(tmp_path)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(COMMAND, [COMMAND, "run"])
    try:
        shown = b""
        while b"is ready" not in shown:
            shown += os.read(terminal, 4096)
        configured(tmp_path, PIRATE)
        os.kill(pid, signal.SIGHUP)  # the terminal is there: a reload
        while b"pirate added" not in shown:
            shown += os.read(terminal, 4096)
        assert termios.tcgetattr(terminal)
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert "No service runs" in rosey(tmp_path, "reload").stderr


def test_reload_prints_json(tmp_path: Path) -> None:
    file = configured(tmp_path)
    done = rosey(tmp_path, "reload", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert told["reloaded"] is False
    assert told["error"].startswith("No service runs on ")
    with running(tmp_path):
        configured(tmp_path, PIRATE)
        done = rosey(tmp_path, "reload", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {
            "reloaded": True,
            "personas": {"pirate": "added"},
            "providers": {},
            "settings": {},
            "restart": [],
            "rules": {},
            "texts": {},
        }
        file.write_text("nam = 3")
        done = rosey(tmp_path, "reload", "--json")
        assert (done.returncode, done.stderr) == (1, "")
        assert "nam: unknown key" in json.loads(done.stdout)["error"]
