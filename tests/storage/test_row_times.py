"""A message has the time of its acceptance, also in rows of an older version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import erasure, history, verification
from storage.erasure import Scope
from storage.history import Row, TurnRows
from storage.queries import activity, entries
from storage.queries.reader import open_reader
from storage.queries.selection import Selection
from tests.support.archive import Archive
from tests.support.mailbox_commands import accepted, settle


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        yield archive


def turn(archive: Archive, accepted_ms: int, settled_ms: int, *, old: bool = False) -> None:
    """Append a turn; an old one as the first version wrote it."""
    details = {"accepted_ms": accepted_ms} if old else None
    rows = (
        Row("message", f"r{accepted_ms}", "alice", f"asked at {accepted_ms}"),
        Row("answer", f"r{accepted_ms}", "alice", f"answered at {settled_ms}", details=details),
    )
    channel_id = archive.channel_id("#lobby")
    known_ms = None if old else accepted_ms
    history.append(archive.connection, [TurnRows(channel_id, settled_ms, rows, known_ms)])


def shown(
    archive: Archive, *, since_ms: int | None = None, until_ms: int | None = None
) -> list[tuple[str, int]]:
    selection = Selection(since_ms=since_ms, until_ms=until_ms)
    with closing(open_reader(archive.path)) as reader:
        found = entries.newest(reader, selection, 100)
        return [(each.kind, each.time_ms) for each in found]


def test_a_settled_message_has_its_own_time(connection: sqlite3.Connection) -> None:
    settle(connection, accepted(connection), now_ms=9000)
    rows = connection.execute("SELECT kind, ts_ms FROM history ORDER BY id").fetchall()
    assert rows == [("message", 1000), ("answer", 9000)]


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_message_is_shown_with_its_own_time(archive: Archive, old: bool) -> None:
    turn(archive, 1000, 9000, old=old)
    assert shown(archive) == [("message", 1000), ("answer", 9000)]


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_period_has_the_messages_that_were_accepted_in_it(archive: Archive, old: bool) -> None:
    turn(archive, 1000, 9000, old=old)
    turn(archive, 9500, 9900, old=old)
    assert shown(archive, until_ms=5000) == [("message", 1000)]
    assert shown(archive, since_ms=1001, until_ms=9500) == [("answer", 9000)]
    assert shown(archive, since_ms=9500) == [("message", 9500), ("answer", 9900)]


def test_the_stored_time_of_an_old_row_stays_for_its_digest(archive: Archive) -> None:
    turn(archive, 1000, 9000, old=True)
    with closing(open_reader(archive.path)) as reader:
        first = entries.newest(reader, Selection(), 2)[0]
        assert (first.ts_ms, first.record["ts_ms"]) == (9000, 9000)
        assert "time_ms" not in first.record
        verification.verify(reader)


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_message_and_its_answer_are_erased_together(archive: Archive, old: bool) -> None:
    turn(archive, 1000, 9000, old=old)
    turn(archive, 2000, 3000, old=old)
    rows = erasure.find(archive.connection, Scope(before_ms=5000), 0, 10**9).rows
    assert [content for _, content in rows] == ["asked at 2000", "answered at 3000"]
    assert erasure.amount(archive.connection, Scope(before_ms=9001)).rows == 4


def test_a_slice_of_time_begins_at_an_outcome(archive: Archive) -> None:
    """Ids of messages do not grow with time: a search by halves over them would go astray."""
    for number in range(40):
        turn(archive, 1, 1000 + number)  # all waited for long
    first = activity.first_since(archive.connection, 1020)
    (ts_ms,) = archive.connection.execute(
        "SELECT ts_ms FROM history WHERE id >= ? AND kind = 'answer' ORDER BY id LIMIT 1", (first,)
    ).fetchone()
    assert ts_ms == 1020
    slices = activity.slices(archive.connection, [1000, 1020])
    assert [each.answered for each in slices] == [20, 20]
