"""Tests of the hash chain as `append` writes it; for changed rows see `test_verification.py`."""

import sqlite3
from pathlib import Path

import pytest
import sqlite_utils

from storage import hash_chain, history
from storage.history import Row
from storage.migrations import migrate, migrations
from tests.support.channel_writes import add

FACTS = ", ".join(hash_chain.FACTS)
TURN = (Row("message", "r1", "alice", "Hello"), Row("answer", "r1", "alice", "Hi.", model="m"))


def links(connection: sqlite3.Connection, channel_id: int) -> list[bytes]:
    """Return a channel's digests, computed again from its rows."""
    (name,) = connection.execute("SELECT name FROM channel WHERE id = ?", (channel_id,)).fetchone()
    link, found = hash_chain.of_channel(name), []
    for salt, username, content, *facts in connection.execute(
        f"SELECT salt, username, content, {FACTS}"  # noqa: S608 - names of columns
        " FROM history WHERE channel_id = ? ORDER BY id",
        (channel_id,),
    ):
        link = hash_chain.of_row(link, hash_chain.of_private(salt, username, content), tuple(facts))
        found.append(link)
    return found


def kept(connection: sqlite3.Connection, channel_id: int) -> list[bytes]:
    rows = connection.execute(
        "SELECT digest FROM history WHERE channel_id = ? ORDER BY id", (channel_id,)
    )
    return [row[0] for row in rows]


def test_each_row_is_chained_to_the_one_before_it_in_its_channel(
    connection: sqlite3.Connection,
) -> None:
    add("#a")(connection)
    add("#b")(connection)
    for ts_ms, channel_id in enumerate([1, 2, 1, 1, 2]):
        history.append(connection, [history.TurnRows(channel_id, ts_ms, TURN, accepted_ms=ts_ms)])
    for channel_id, rows in ((1, 6), (2, 4)):
        assert len(set(kept(connection, channel_id))) == rows
        assert kept(connection, channel_id) == links(connection, channel_id)


def test_the_same_words_in_two_channels_have_different_digests(
    connection: sqlite3.Connection,
) -> None:
    assert hash_chain.of_channel("#a") != hash_chain.of_channel("#b")
    count = 3 * hash_chain.SALTS_AT_ONCE
    salts = [hash_chain.new_salt() for _ in range(count)]
    assert len({hash_chain.of_private(salt, "alice", "yes") for salt in salts}) == count


@pytest.mark.parametrize("place", range(len(hash_chain.FACTS)))
def test_every_fact_counts(place: int) -> None:
    facts: list[str | int | None] = [None] * len(hash_chain.FACTS)
    before = hash_chain.of_row(b"", b"", tuple(facts))
    facts[place] = 0
    assert hash_chain.of_row(b"", b"", tuple(facts)) != before


def test_the_outcome_alone_says_when_its_command_was_accepted(
    connection: sqlite3.Connection,
) -> None:
    add("#a")(connection)
    outcome = Row("answer", "r1", "alice", "Hi.", details={"attempts": 1})
    history.append(connection, [history.TurnRows(1, 2000, (TURN[0], outcome), accepted_ms=1000)])
    details = [row[0] for row in connection.execute("SELECT details FROM history ORDER BY id")]
    assert details == [None, '{"accepted_ms":1000,"attempts":1}']


def test_a_history_from_before_the_chain_is_chained_once(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    db = sqlite_utils.Database(connection)
    migrations.apply(db, stop_before="m002_chain_of_digests")
    add("#a")(connection)
    add("#b")(connection)
    old = "INSERT INTO history (id, channel_id, seq, ts_ms, kind, request_id, username, content)"
    for row_id, channel_id, seq in ((1, 1, 1), (2, 2, 1), (3, 1, 2)):
        values = (row_id, channel_id, seq, 1000, "message", "r", "alice", f"text {row_id}")
        connection.execute(f"{old} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    migrate(connection, "old.db")
    assert [row[0] for row in connection.execute("SELECT content FROM history ORDER BY id")] == [
        "text 1",
        "text 2",
        "text 3",
    ]
    for channel_id in (1, 2):
        assert kept(connection, channel_id) == links(connection, channel_id)
    history.append(connection, [history.TurnRows(1, 2000, TURN)])
    assert kept(connection, 1) == links(connection, 1)
    assert connection.execute("SELECT max(id), max(seq) FROM history").fetchone() == (5, 4)
    connection.close()
