"""`rosey-llm history erase`, with real processes that are interrupted, killed and restarted."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest

from storage import verification
from storage.lock import Lock
from storage.queries.reader import open_reader
from tests.support import secrets_database
from tests.support.command_line import COMMAND, rosey
from tests.support.patience import WAIT_S, blocking_until
from tests.support.secrets_database import ROWS, SECRET, USER, files_containing

pytestmark = pytest.mark.process

CONFIG = """
default_provider = "scripted"
fallback_providers = []
[http]
enabled = false
[nats]
port = 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(CONFIG)
    secrets_database.write_database(database(tmp_path))
    return tmp_path


def database(folder: Path) -> Path:
    return folder / "data" / "rosey-llm.db"


def erase(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return rosey(folder, "history", "erase", *arguments)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running command; killed at the end if it still runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with started(folder, "run") as service:
        assert service.stdout is not None
        assert "is ready" in service.stdout.readline()
        yield service


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A reader that stays until the end, so that the WAL cannot be truncated."""
    with closing(open_reader(database(folder))) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM history").fetchone()
        yield connection


def said(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"it ended without a word of {text}")


def check_erased(folder: Path) -> None:
    assert files_containing(folder / "data", SECRET, USER) == []
    with closing(open_reader(database(folder))) as connection:
        assert verification.verify(connection).erased >= ROWS
        assert (
            connection.execute("SELECT count(*) FROM orders WHERE done_ms IS NULL").fetchone()[0]
            == 0
        )


def test_a_service_that_starts_meanwhile_waits_until_it_is_done(folder: Path) -> None:
    erasing = Lock(database(folder), "history erase")
    erasing.take()
    try:
        with started(folder, "run") as service:
            said(service, f"is in use by rosey-llm history erase, process {os.getpid()}. Try")
            erasing.free()
            assert service.stdout is not None
            assert "is ready" in service.stdout.readline()
    finally:
        erasing.free()


def test_a_service_that_waits_for_it_can_be_stopped(folder: Path) -> None:
    erasing = Lock(database(folder), "history erase")
    erasing.take()
    try:
        with started(folder, "run") as service:
            said(service, "The start waits.")
            service.send_signal(signal.SIGTERM)
            assert service.wait(timeout=WAIT_S) == 0
    finally:
        erasing.free()


def test_it_says_how_much_before_and_what_it_does_not_reach(folder: Path) -> None:
    dry = erase(folder, "--user", "mallory", "--dry-run")
    assert (dry.returncode, dry.stdout) == (
        0,
        f"To erase: {ROWS} rows in 3 channels, and 3 waiting commands.\n",
    )
    assert files_containing(folder / "data", SECRET) != []
    done = erase(folder, "--user", "mallory", "--yes")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first == f"Erased: {ROWS} rows of the history."
    assert second.startswith(
        "Not erased: what others wrote about it, log files, exports, and older"
    )
    check_erased(folder)


def test_json_has_the_same(folder: Path) -> None:
    counts = {"rows": ROWS, "channels": 3, "waiting": 3}
    dry = erase(folder, "--user", "MALLORY", "--dry-run", "--json")
    assert orjson.loads(dry.stdout) == counts | {"erased": 0}
    done = erase(folder, "--user", "MALLORY", "--channel", "#a", "--yes", "--json", "--no-compact")
    assert orjson.loads(done.stdout) == {
        "rows": ROWS // 3,
        "channels": 1,
        "waiting": 1,
        "erased": ROWS // 3,
    }


def test_unknown_names_and_missing_options_are_refused(folder: Path) -> None:
    unknown = erase(folder, "--user", "mallroy", "--yes")
    assert (unknown.returncode, 'Did you mean "Mallory"?' in unknown.stderr) == (1, True)
    nowhere = erase(folder, "--channel", "#aa", "--yes")
    assert (nowhere.returncode, 'Did you mean "#a"' in nowhere.stderr) == (1, True)
    assert erase(folder, "--yes").returncode == 2
    unsure = erase(folder, "--user", "mallory")
    assert (unsure.returncode, "add --yes" in unsure.stderr) == (2, True)
    no_database = erase(folder, "--database", "other.db", "--user", "mallory", "--yes")
    assert (no_database.returncode, "There is no database" in no_database.stderr) == (3, True)
    assert not (folder / "other.db").exists()
    nothing = erase(folder, "--user", "mallory", "--before", "1990-01-01", "--yes")
    assert (nothing.returncode, nothing.stdout) == (0, "To erase: 0 rows in 0 channels.\n")


@pytest.mark.parametrize(("typed", "code"), [("mallory", 0), ("", 1), ("malory", 1)])
def test_a_person_types_the_name(folder: Path, typed: str, code: int) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(COMMAND, [COMMAND, "history", "erase", "--user", "mallory"])
    try:
        shown = ""
        while "Type the name (mallory)" not in shown:
            shown += os.read(terminal, 4096).decode()
        assert f"This erases {ROWS} rows in 3 channels, and 3 waiting commands" in shown
        os.write(terminal, typed.encode() + b"\n")
        with hung_up():
            while os.read(terminal, 4096):
                pass
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == code
    finally:
        os.close(terminal)
    assert bool(files_containing(folder / "data", SECRET)) == bool(code)


@contextmanager
def hung_up() -> Iterator[None]:
    """A terminal whose other end has gone is read to its end by an error, on Linux."""
    try:
        yield
    except OSError:
        return


def test_a_service_that_was_killed_in_the_middle_goes_on_at_its_next_start(folder: Path) -> None:
    with (
        running(folder) as service,
        reading(folder) as reader,
        started(folder, "history", "erase", "--user", "mallory", "--yes") as command,
    ):
        said(command, "Waiting: Another process is reading")
        command.send_signal(signal.SIGSTOP)  # or it takes over where the next start takes seconds
        service.kill()
        service.wait()
        reader.close()
        with running(folder):
            command.send_signal(signal.SIGCONT)
            assert command.wait(WAIT_S) == 0
            check_erased(folder)


def test_a_command_whose_service_has_gone_takes_over(folder: Path) -> None:
    with (
        running(folder) as service,
        reading(folder) as reader,
        started(folder, "history", "erase", "--user", "mallory", "--yes") as command,
    ):
        said(command, "Waiting: Another process is reading")
        service.kill()
        service.wait()
        reader.close()
        assert command.wait(WAIT_S) == 0
        assert command.stdout is not None
        assert "Erased: " in command.stdout.read()
        check_erased(folder)


def test_a_command_that_is_interrupted_leaves_its_request_to_the_service(folder: Path) -> None:
    with running(folder):
        with (
            reading(folder) as reader,
            started(folder, "history", "erase", "--user", "mallory", "--yes") as command,
        ):
            said(command, "Waiting: Another process is reading")
            command.send_signal(signal.SIGINT)
            said(command, "The erasure continues")
            assert command.wait(WAIT_S) == 130
            with started(folder, "history", "erase", "--user", "mallory") as again:
                said(again, "Waiting: Another process is reading")
                reader.close()
                assert again.wait(WAIT_S) == 0
        check_erased(folder)


def test_a_waiting_request_is_carried_out_before_any_model_is_asked(
    folder: Path,
) -> None:
    body = orjson.dumps(secrets_database.REQUEST).decode()
    with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO orders (kind, body, created_ms) VALUES ('erase', ?, 0)", (body,)
        )
    with running(folder):
        blocking_until(lambda: not _waiting(folder))
        check_erased(folder)
        with closing(open_reader(database(folder))) as connection:
            kinds = connection.execute(
                "SELECT h.kind FROM history h WHERE h.request_id = 'wM' ORDER BY h.id"
            ).fetchall()
        assert [row[0] for row in kinds] == ["cancelled"] * 3


def _waiting(folder: Path) -> int:
    with closing(open_reader(database(folder))) as connection:
        return int(connection.execute("SELECT count(*) FROM mailbox").fetchone()[0])


def test_it_erases_in_a_copy_like_in_the_original(folder: Path) -> None:
    assert rosey(folder, "backup", "copy.db").returncode == 0
    done = erase(folder, "--database", "copy.db", "--channel", "#a", "--yes")
    assert (done.returncode, f"Erased: {ROWS * 2 // 3} rows" in done.stdout) == (0, True)
    with closing(open_reader(folder / "copy.db")) as connection:
        assert verification.verify(connection).erased == ROWS * 2 // 3
    assert files_containing(folder / "data", SECRET) != []
