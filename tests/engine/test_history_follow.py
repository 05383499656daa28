"""`rosey-llm history show --follow`: a running service, the next one, and replaced files."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest

from engine.interfaces.reports import transcript
from storage.queries import entries
from storage.queries.reader import reading as open_reading
from storage.queries.selection import Selection
from tests.support.archive import Archive
from tests.support.command_line import COMMAND, SCRIPTED, rosey, running
from tests.support.history_command import copy_of, lines
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process


@contextmanager
def following(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [COMMAND, "history", "show", *arguments, "--follow", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_content(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    content: str = orjson.loads(process.stdout.readline())["content"]
    return content


def test_it_follows_a_running_service_and_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    with running(tmp_path) as ready:
        assert ready
        rosey(tmp_path, "chat", "--channel", "a", said="first\n")
        with following(tmp_path, "a", "-n", "1") as follow:
            assert next_content(follow) == "You said: first"
            rosey(tmp_path, "chat", "--channel", "b", said="elsewhere\n")
            rosey(tmp_path, "chat", "--channel", "a", said="second\n")
            assert [next_content(follow) for _ in range(2)] == ["second", "You said: second"]
            assert len(lines(tmp_path, "channels")) == 2
            assert len(lines(tmp_path, "search", "elsewhere")) == 2
            _after_a_restart(tmp_path, follow)


def test_it_follows_a_backup_that_replaces_the_file(told: Path, tmp_path: Path) -> None:
    database, backup = copy_of(told, tmp_path), tmp_path / "backup.db"
    shutil.copy(database, backup)
    with closing(Archive(backup)) as archive:
        archive.say("after the backup", channel="#dev")
    with following(tmp_path, "#dev", "-n", "1", "--database", "copy.db") as follow:
        assert next_content(follow) == "You said: green mountains"
        os.replace(backup, database)
        assert next_content(follow) == "after the backup"


def _after_a_restart(folder: Path, follow: subprocess.Popen[str]) -> None:
    """`chat` starts its own service when the other is gone."""
    assert follow.stderr is not None
    rosey(folder, "chat", "--config", "rosey-llm.toml", "--channel", "a", said="third\n")
    assert [next_content(follow) for _ in range(2)] == ["third", "You said: third"]
    follow.send_signal(signal.SIGINT)
    assert follow.wait(timeout=WAIT_S) == 0
    assert "Traceback" not in follow.stderr.read()


def test_a_file_that_is_replaced_while_it_is_opened_is_followed(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, backup = copy_of(told, tmp_path), tmp_path / "backup.db"
    shutil.copy(database, backup)
    with closing(Archive(backup)) as archive:
        archive.say("after the backup", channel="#dev")
    with open_reading(database) as connection:
        last_id = entries.newest_id(connection)

    @contextmanager
    def replaced_once_open(path: Path) -> Iterator[sqlite3.Connection]:
        with open_reading(path) as connection:
            if backup.exists():
                os.replace(backup, database)
            yield connection

    monkeypatch.setattr(transcript, "reading", replaced_once_open)
    found = next(transcript.follow(database, "#dev", Selection(), last_id))
    assert [each.content for each in found] == ["after the backup", "Well."]
