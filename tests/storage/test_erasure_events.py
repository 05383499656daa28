"""Every erasure is an event of the history, and a row without text needs one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from storage import channels, erasure, erasure_events, hash_chain, verification
from storage.erasure import Scope
from storage.erasure_events import Erasure
from storage.queries.reader import open_reader
from storage.verification import Seal, TamperedRow
from tests.support.archive import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        for user in ("alice", "bob", "alice"):
            archive.say(f"a word of {user}", user=user)
        yield archive


def erase(archive: Archive, scope: Scope, why: Erasure) -> int:
    rows = erasure.find(archive.connection, scope, 0, 10**9).rows
    ids = [row_id for row_id, _ in rows]
    return erasure.blank(archive.connection, ids, 5000, lambda *_: b"{}", why)


def blank_by_hand(archive: Archive, row_id: int) -> None:
    """Erase a row properly, as anybody who can write the file is able to."""
    salt, username, content = archive.connection.execute(
        "SELECT salt, username, content FROM history WHERE id = ?", (row_id,)
    ).fetchone()
    archive.connection.execute(
        "UPDATE history SET username = NULL, content = '', salt = NULL, erased_ms = 7, private = ?"
        " WHERE id = ?",
        (hash_chain.of_private(salt, username, content), row_id),
    )


def events(archive: Archive) -> list[tuple[str, dict[str, object]]]:
    found = archive.connection.execute(
        "SELECT h.content, h.details FROM history h JOIN channel c ON c.id = h.channel_id"
        " WHERE c.name = ? ORDER BY h.id",
        (channels.ENGINE,),
    )
    return [(content, orjson.loads(details)) for content, details in found]


def verified(archive: Archive, seal: Seal | None = None) -> verification.Verified:
    with closing(open_reader(archive.path)) as connection:
        return verification.verify(connection, seal)


def test_an_order_leaves_an_event_without_the_name(archive: Archive) -> None:
    assert erase(archive, Scope(user="alice"), Erasure("order", "She asked for it.", "root")) == 4
    assert events(archive) == [
        (
            "4 rows were erased by order of root: She asked for it.",
            {
                "cause": "order",
                "rows": 4,
                "ids": [[1, 2], [5, 6]],
                "reason": "She asked for it.",
                "by": "root",
            },
        )
    ]
    assert (verified(archive).rows, verified(archive).erased) == (7, 4)


def test_a_step_that_erases_nothing_leaves_none(archive: Archive) -> None:
    assert erase(archive, Scope(user="carol"), Erasure("retention")) == 0
    assert events(archive) == []


def test_an_event_is_never_erased(archive: Archive) -> None:
    erase(archive, Scope(), Erasure("retention"))
    assert events(archive)[0][0] == "6 rows were erased: too old to be kept."
    assert erase(archive, Scope(channel=channels.ENGINE), Erasure("order")) == 0
    assert len(events(archive)) == 1
    verified(archive)


@pytest.mark.parametrize("erased_before", [False, True])
def test_a_row_that_was_blanked_by_hand_is_found(archive: Archive, erased_before: bool) -> None:
    if erased_before:
        erase(archive, Scope(user="bob"), Erasure("order"))
    seal = verified(archive).seal
    blank_by_hand(archive, 5)
    with pytest.raises(TamperedRow, match="no erasure of it was recorded") as caught:
        verified(archive, seal)
    assert caught.value.row_id == 5
    with (
        closing(open_reader(archive.path)) as connection,
        pytest.raises(TamperedRow, match="no erasure of it was recorded"),
    ):
        verification.verify_channel(connection, "#lobby")


def test_an_event_covers_no_row_that_came_later(archive: Archive) -> None:
    erase(archive, Scope(user="bob"), Erasure("order"))
    archive.say("later", user="bob")  # rows 8 and 9
    details = {"cause": "order", "rows": 9, "ids": [[1, 9]]}
    archive.connection.execute(
        "UPDATE history SET details = ? WHERE kind = 'erased'", (orjson.dumps(details).decode(),)
    )
    assert erasure_events.covered(archive.connection) == [[1, 6]]
    with pytest.raises(TamperedRow, match="not as it was written"):
        verified(archive)


def test_one_channel_is_proved_together_with_the_events(archive: Archive) -> None:
    erase(archive, Scope(user="bob"), Erasure("order"))
    with closing(open_reader(archive.path)) as connection:
        proof = verification.verify_channel(connection, "#lobby")
        assert (proof.rows, proof.channels, proof.erased) == (6, 1, 2)
        assert verification.verify_channel(connection, channels.ENGINE).rows == 1
    archive.connection.execute("UPDATE history SET content = 'x' WHERE kind = 'erased'")
    with (
        closing(open_reader(archive.path)) as connection,
        pytest.raises(TamperedRow, match="not as it was written"),
    ):
        verification.verify_channel(connection, "#lobby")


@pytest.mark.parametrize("details", ["{}", '{"ids": 7}', '{"ids": [[1]]}', "[]", "null", "x"])
def test_an_event_that_cannot_be_read_is_told(archive: Archive, details: str) -> None:
    erase(archive, Scope(user="bob"), Erasure("order"))
    archive.connection.execute("UPDATE history SET details = ? WHERE kind = 'erased'", (details,))
    with pytest.raises(TamperedRow):
        verified(archive)


def test_ranges_join_neighbours() -> None:
    assert erasure_events.ranges([]) == []
    assert erasure_events.ranges([1, 2, 3, 7, 9, 10]) == [[1, 3], [7, 7], [9, 10]]


def test_ranges_of_several_events_are_joined(archive: Archive) -> None:
    for ids in ([1], [2, 3], [6], [3]):
        erasure_events.append(archive.connection, Erasure("order"), ids, 1)
    assert erasure_events.covered(archive.connection) == [[1, 3], [6, 6]]


def test_an_event_is_written_in_the_commit_of_its_erasure(archive: Archive) -> None:
    archive.connection.execute("BEGIN")
    erase(archive, Scope(user="bob"), Erasure("order"))
    archive.connection.execute("ROLLBACK")
    assert events(archive) == []
    with closing(sqlite3.connect(archive.path)) as other:
        assert other.execute("SELECT count(*) FROM history").fetchone() == (6,)
