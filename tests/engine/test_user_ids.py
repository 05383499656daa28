"""Tests of the platform's ids of users, from every door to the history and back."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from engine.api.service import LLMService
from engine.errors import LLMError
from providers.scripted import ScriptedProvider
from tests.support.command_line import rosey

USER_1 = "U1"


def stored(path: Path) -> list[tuple[str, str, str | None]]:
    """Return kind, name and id of each row."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT kind, username, json_extract(personal, '$.user_id') FROM history"
        ).fetchall()


async def test_each_row_of_a_turn_has_the_id_of_its_user(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("Hi", username="alice", user_id="U1")
        await service.reset(username="alice", user_id="U1")
        with pytest.raises(LLMError, match="nobody"):
            await service.chat("Hi", username="alice", user_id="U1", persona="nobody")
        await service.chat("Hi", username="bob")
    assert stored(path) == [
        ("message", "alice", USER_1),
        ("answer", "alice", USER_1),
        ("reset", "alice", USER_1),
        ("message", "alice", USER_1),
        ("error", "alice", USER_1),
        ("message", "bob", None),
        ("answer", "bob", None),
    ]


async def test_a_command_that_waited_through_a_crash_keeps_the_id(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("Hi", username="alice")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO mailbox (channel_id, request_id, username, personal, body, replies,"
            " attempts, accepted_ms) VALUES (1, 'w', 'alice', ?, ?, '[]', 0, 0)",
            ('{"user_id":"U1"}', b'["Chat", {"text": "again"}]'),
        )
    async with LLMService(ScriptedProvider(), database=path) as service:
        assert (await service.chat("again", request_id="w")).content == "You said: again"
    assert stored(path)[2:] == [(kind, "alice", USER_1) for kind in ("message", "answer")]


@pytest.mark.process
async def test_operators_find_and_erase_a_user_by_id(tmp_path: Path) -> None:
    path = tmp_path / "data" / "rosey-llm.db"
    path.parent.mkdir()
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("before", username="alice")
        for name in ("alice", "alice_away"):
            await service.chat(f"as {name}", username=name, user_id="U1")

    def history(*arguments: str) -> str:
        done = rosey(tmp_path, "history", *arguments, "--database", str(path))
        return done.stdout + done.stderr

    rows = [orjson.loads(line) for line in history("export", "--user-id", "U1").splitlines()]
    assert {(row["username"], row["personal"]["user_id"]) for row in rows} == {
        ("alice", "U1"),
        ("alice_away", "U1"),
    }
    assert "no stored messages by a user with the id" in history("erase", "--user-id", "u1")
    said = history("erase", "--user-id", "U1", "--yes")
    assert "Erased: 4 rows" in said
    assert "2 rows without an id under the user's name alice." in said
    assert "as alice" not in history("show", "main")


@pytest.mark.process
async def test_an_id_in_a_csv_file_is_json(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("Hi", username="alice", user_id='=1"\n')
    done = rosey(tmp_path, "history", "export", "--format", "csv", "--database", str(path))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [orjson.loads(row["personal"])["user_id"] for row in rows] == ['=1"\n'] * 2
