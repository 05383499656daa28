"""`rosey-llm history verify` and `rosey-llm backup`, as a user starts them."""

from __future__ import annotations

import os
import pty
import re
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest

from storage import verification
from storage.queries.reader import open_reader
from tests.support.archive import Archive
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S

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
    """Eight rows of two channels."""
    (tmp_path / "rosey-llm.toml").write_text(CONFIG)
    (tmp_path / "data").mkdir()
    with closing(Archive(database(tmp_path))) as archive:
        for text in ("one", "two"):
            for channel in ("#a", "#b"):
                archive.say(text, channel=channel, ts_ms=1_700_000_000_000)
    return tmp_path


def database(folder: Path) -> Path:
    return folder / "data" / "rosey-llm.db"


def rosey(folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        input=said,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, "TZ": "UTC"},
    )


def verify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return rosey(folder, "history", "verify", *arguments)


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(sql).rowcount


def seal_of(printed: str) -> str:
    found = re.search(r"^Seal: (8:[0-9a-f]{64})$", printed, re.MULTILINE)
    assert found
    return found[1]


@contextmanager
def running(folder: Path) -> Iterator[None]:
    with subprocess.Popen(
        [COMMAND, "run"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            assert "is ready" in service.stdout.readline()
            yield
        finally:
            service.terminate()
            service.communicate(timeout=WAIT_S)


def test_a_history_is_proven_and_sealed(folder: Path) -> None:
    done = verify(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [
        "Verified: 8 rows in 2 channels, 0 of them erased.",
        "From 2023-11-14 22:13:20+00:00 to 2023-11-14 22:13:20+00:00.",
    ]
    again = verify(folder, "--seal", seal_of(done.stdout))
    assert (again.returncode, "Rows up to 8 match the seal." in again.stdout) == (
        0,
        True,
    )
    assert verify(folder, "--channel", "#b").stdout.startswith("Verified: 4 rows in 1 ")


def test_the_first_wrong_row_is_named_and_ends_with_1(folder: Path) -> None:
    change(database(folder), "UPDATE history SET content = 'ONE' WHERE id IN (3, 5)")
    done = verify(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "The history was changed.",
        "Row 3 (number 1 in #b, 2023-11-14 22:13:20+00:00):",
        "It is not as it was written: one of its values or its digest was changed, or its channel"
        " was renamed.",
    ]
    found = orjson.loads(verify(folder, "--json").stdout)
    assert (found["ok"], found["id"], found["channel"], found["seq"]) == (False, 3, "#b", 1)
    assert verify(folder, "--channel", "#b").returncode == 1


def test_json_has_all_that_is_printed(folder: Path) -> None:
    found = orjson.loads(verify(folder, "--json").stdout)
    assert verification.Seal.parse(found.pop("seal")).last_id == 8
    assert found == {
        "ok": True,
        "rows": 8,
        "channels": 2,
        "erased": 0,
        "first": "2023-11-14T22:13:20.000+00:00",
        "last": "2023-11-14T22:13:20.000+00:00",
    }


def test_a_wrong_seal_ends_with_1_and_no_seal_with_2(folder: Path) -> None:
    wrong = verify(folder, "--seal", "8:" + "0" * 64)
    assert (wrong.returncode, "do not match the seal" in wrong.stderr) == (1, True)
    for arguments in (("--seal", "8"), ("--seal", "8:" + "0" * 64, "--channel", "#a")):
        assert verify(folder, *arguments).returncode == 2


def test_it_says_what_it_cannot_verify(folder: Path) -> None:
    nowhere = verify(folder, "--channel", "#bb")
    assert (nowhere.returncode, 'Did you mean "#b"' in nowhere.stderr) == (1, True)
    missing = verify(folder, "--database", "other.db")
    assert (missing.returncode, "There is no database" in missing.stderr) == (3, True)
    (folder / "text.db").write_text("This is no database at all. " * 100)
    assert verify(folder, "--database", "text.db").returncode == 3


def test_the_channel_of_a_wrong_row_cannot_steer_the_terminal(folder: Path) -> None:
    change(database(folder), "UPDATE channel SET name = '#b' || char(27) || '[2J' WHERE id = 2")
    assert "\x1b" not in verify(folder).stderr


def test_on_a_terminal_a_bar_moves_on_stderr_and_goes(folder: Path) -> None:
    with closing(Archive(database(folder))) as archive:
        archive.connection.execute("BEGIN")
        for _ in range(6000):
            archive.say("x", "y")
        archive.connection.execute("COMMIT")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(COMMAND, [COMMAND, "history", "verify"], {**os.environ, "TERM": "xterm"})
    shown = ""
    try:
        while "Seal: " not in shown:
            shown += os.read(terminal, 4096).decode()
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert "Verifying" in shown
    assert "12,008 rows" in shown


# Copies.


def test_a_copy_is_whole_verified_private_and_works(folder: Path) -> None:
    with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO mailbox (channel_id, request_id, username, body, replies, attempts,"
            " accepted_ms) VALUES (1, 'w1', 'bob', ?, '[]', 0, 0)",
            (b'["Chat",{"text":"Still there?"}]',),
        )
    with running(folder):
        done = rosey(folder, "backup", "copies.db")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    copy = folder / "copies.db"
    assert first == f"copies.db: {copy.stat().st_size:,} bytes."
    assert second.startswith("Verified: ")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [file.name for file in folder.iterdir() if "part" in file.name] == []
    with closing(open_reader(copy)) as connection:
        assert (
            verification.given_ids(connection)
            == connection.execute("SELECT max(id) FROM history").fetchone()[0]
        )
    shown = rosey(folder, "history", "--database", "copies.db", "show", "#a")
    assert "alice: two" in shown.stdout


def test_a_service_continues_from_a_copy_with_waiting_messages(folder: Path) -> None:
    with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO mailbox (channel_id, request_id, username, body, replies, attempts,"
            " accepted_ms) VALUES (1, 'w1', 'bob', ?, '[]', 0, 0)",
            (b'["Chat",{"text":"Still there?"}]',),
        )
    before = seal_of(rosey(folder, "backup", "copy.db").stdout)
    (folder / "rosey-llm.toml").write_text(CONFIG + '[storage]\npath = "copy.db"\n')
    answer = rosey(folder, "chat", "--channel", "#a", "--user", "alice", said="Hello\n").stdout
    assert answer == "You said: alice: Hello\n"
    shown = rosey(folder, "history", "show", "#a").stdout
    assert "bob: Still there?" in shown
    later = verify(folder, "--seal", before)
    assert (later.returncode, "12 rows" in later.stdout) == (0, True)


def test_a_file_that_exists_is_replaced_only_by_force(folder: Path) -> None:
    (folder / "copy.db").write_text("mine")
    refused = rosey(folder, "backup", "copy.db")
    assert (refused.returncode, refused.stderr) == (
        1,
        "copy.db exists. Use --force to replace it.\n",
    )
    assert (folder / "copy.db").read_text() == "mine"
    assert rosey(folder, "backup", "copy.db", "--force", "--json").returncode == 0
    itself = rosey(folder, "backup", "data/rosey-llm.db", "--force")
    assert (itself.returncode, "is the database itself" in itself.stderr) == (1, True)
    assert verify(folder).returncode == 0


def test_a_damaged_file_ends_with_3(folder: Path) -> None:
    whole = database(folder)
    (folder / "bad.db").write_bytes(whole.read_bytes()[:4096] + b"\xff" * 40960)
    for command in (["history", "verify"], ["history", "channels"]):
        done = rosey(folder, *command, "--database", "bad.db")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("Error: Cannot read bad.db: ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink(os.devnull, path)])
def test_a_copy_replaces_only_plain_files(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder / "copy.db")
    before = os.lstat(folder / "copy.db").st_mode
    refused = rosey(folder, "backup", "copy.db", "--force")
    assert (refused.returncode, "is not a regular file" in refused.stderr) == (1, True)
    assert os.lstat(folder / "copy.db").st_mode == before
    assert list(folder.glob(".copy*")) == []


def test_a_copy_is_never_put_beside_the_wal_of_another_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "copy.db", isolation_level=None)) as used:
        used.executescript("PRAGMA journal_mode=WAL; CREATE TABLE mine (a)")
        refused = rosey(folder, "backup", "copy.db", "--force")
        assert (refused.returncode, "copy.db-wal beside it" in refused.stderr) == (1, True)
        assert used.execute("SELECT * FROM mine").fetchall() == []
    assert rosey(folder, "backup", "copy.db", "--force").returncode == 0


def test_a_copy_that_cannot_be_made_leaves_nothing(folder: Path) -> None:
    nowhere = rosey(folder, "backup", "nowhere/copy.db")
    assert (nowhere.returncode, "Cannot write" in nowhere.stderr) == (1, True)
    missing = rosey(folder, "backup", "copy.db", "--database", "other.db")
    assert (missing.returncode, "There is no database" in missing.stderr) == (3, True)
    assert not (folder / "copy.db").exists()


def test_a_copy_with_a_tampered_row_is_kept_and_reported(folder: Path) -> None:
    change(database(folder), "DELETE FROM history WHERE id = 2")
    done = rosey(folder, "backup", "copy.db")
    assert done.returncode == 1
    assert "row 2 of the history was removed" in done.stderr
    assert (folder / "copy.db").exists()
