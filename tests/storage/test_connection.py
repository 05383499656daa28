"""Tests of the writer's cache: it never differs from the database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage import erasure, outbox
from storage.erasure_events import Erasure
from storage.errors import StorageUnavailable
from storage.mailboxes import Accepted
from storage.migrations import migrate
from storage.writer import connection as connections
from storage.writer.connection import WriterConnection
from storage.writer.database import Database
from tests.support import command_writes, mailbox_commands
from tests.support.channel_writes import held

ORDER = Erasure("order")

GROWTH = "x" * 1_000_000


@pytest.fixture
def knowing() -> Iterator[WriterConnection]:
    with closing(
        sqlite3.connect(":memory:", isolation_level=None, factory=WriterConnection)
    ) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        migrate(connection, ":memory:")
        yield connection


def turn(connection: sqlite3.Connection, request_id: str, channel: str = "#lobby") -> None:
    mailbox_commands.answered(connection, request_id, channel)


def statements(connection: WriterConnection, work: Callable[[], None]) -> list[str]:
    found: list[str] = []
    connection.set_trace_callback(found.append)
    work()
    connection.set_trace_callback(None)
    return found


def channels(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM channel ORDER BY id")]


def test_cached_values_are_not_read_again(knowing: WriterConnection) -> None:
    first = statements(knowing, partial(turn, knowing, "r1"))
    second = statements(knowing, partial(turn, knowing, "r2"))
    assert len(second) < len(first)
    assert not [each for each in second if "FROM channel" in each or "FROM history" in each]
    assert mailbox_commands.chain_holds(knowing)


def test_cached_values_of_a_rolled_back_transaction_are_forgotten(
    knowing: WriterConnection,
) -> None:
    turn(knowing, "r1", "#a")
    for channel in ("#a", "#b"):
        knowing.begin()
        turn(knowing, "r2", "#a")
        turn(knowing, "r2", "#b")
        knowing.roll_back()
        turn(knowing, f"r3 {channel}", channel)
    assert channels(knowing) == ["#a", "#b"]
    assert [seq for seq, _, _ in mailbox_commands.kept(knowing, "#a")] == [1, 2, 3, 4]
    assert [seq for seq, _, _ in mailbox_commands.kept(knowing, "#b")] == [1, 2]
    assert mailbox_commands.chain_holds(knowing)


def test_values_of_an_open_transaction_are_cached_in_it(knowing: WriterConnection) -> None:
    knowing.begin()
    turn(knowing, "r1")
    turn(knowing, "r2")
    knowing.execute("COMMIT")
    assert [seq for seq, _, _ in mailbox_commands.kept(knowing)] == [1, 2, 3, 4]
    assert mailbox_commands.chain_holds(knowing)


def test_a_chain_goes_on_from_a_row_that_was_erased(knowing: WriterConnection) -> None:
    turn(knowing, "r1")
    assert erasure.blank(knowing, [1, 2], 5000, lambda channel, request_id: b"erased", ORDER) == 2
    turn(knowing, "r2")
    assert [content for _, _, content in mailbox_commands.kept(knowing)] == ["", "", "Hello", "Hi."]
    assert mailbox_commands.chain_holds(knowing)


def test_a_chain_goes_on_when_its_outcomes_are_forgotten(knowing: WriterConnection) -> None:
    turn(knowing, "r1")
    command_writes.published(knowing, [1], 3000)
    assert outbox.prune(knowing, before_ms=9000) == 1
    assert isinstance(mailbox_commands.put(knowing, "r1"), Accepted)
    mailbox_commands.settle(knowing, 1, "r1")
    assert [seq for seq, _, _ in mailbox_commands.kept(knowing)] == [1, 2, 3, 4]
    assert mailbox_commands.chain_holds(knowing)


def test_only_the_entries_used_last_are_cached(
    knowing: WriterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LIMIT", 2)
    for number in range(12):
        turn(knowing, f"r{number}", "#a")
        turn(knowing, f"r{number}", f"#{number % 3}")
    found = knowing.known
    assert [found.ids.get(f"#{number}") for number in range(3)].count(None) == 2
    assert found.ids.get("#a") == 1
    assert found.heads.get(1) is not None
    assert channels(knowing) == ["#a", "#0", "#1", "#2"]
    assert mailbox_commands.chain_holds(knowing)


def test_any_other_connection_has_no_cache(connection: sqlite3.Connection) -> None:
    turn(connection, "r1")
    assert connections.known(connection).ids.get("#lobby") is None


async def test_writes_of_another_process_are_seen(on_file: Database, path: Path) -> None:
    await on_file.write(partial(turn, request_id="r1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE channel SET name = '#hall'")
    await on_file.write(partial(turn, request_id="r2"))
    assert await on_file.write(channels) == ["#hall", "#lobby"]
    assert [seq for seq, _, _ in await on_file.write(mailbox_commands.kept)] == [1, 2]


async def test_a_group_that_is_tried_again_without_a_fault_leaves_no_gap(
    database: Database,
) -> None:
    def fault(connection: sqlite3.Connection) -> None:
        turn(connection, "r3")
        turn(connection, "r3", "#new")
        raise KeyError("a defect of ours")

    await database.write(partial(turn, request_id="r1"))
    async with held(database):
        first = database.write_soon(partial(turn, request_id="r2"))
        failed = database.write_soon(fault)
        last = database.write_soon(partial(turn, request_id="r4"))
    await first
    await last
    assert isinstance(failed.exception(), KeyError)
    assert [seq for seq, _, _ in await database.write(mailbox_commands.kept)] == [1, 2, 3, 4, 5, 6]
    assert await database.write(channels) == ["#lobby"]
    assert await database.write(mailbox_commands.chain_holds)


async def test_after_a_failed_commit_everything_continues_from_the_disk(
    database: Database,
) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    def make_room(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count=1000000")

    await database.write(partial(turn, request_id="r1"))
    await database.write(fill)
    async with held(database):
        lost: list[asyncio.Future[Any]] = [
            database.write_soon(partial(turn, request_id="r2")),
            database.write_soon(partial(turn, request_id="r2", channel="#new")),
            database.write_soon(partial(mailbox_commands.answered, request_id="r3", text=GROWTH)),
        ]
    for each in lost:
        with pytest.raises(StorageUnavailable):
            await each
    await database.write(make_room)
    for request_id, channel in (("r2", "#other"), ("r2", "#new"), ("r2", "#lobby")):
        await database.write(partial(turn, request_id=request_id, channel=channel))
    assert await database.write(channels) == ["#lobby", "#other", "#new"]
    assert [seq for seq, _, _ in await database.write(mailbox_commands.kept)] == [1, 2, 3, 4]
    assert await database.write(mailbox_commands.chain_holds)
