import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actors.conversation import Conversation
from storage import history, snapshots
from storage.snapshots import LoadedSnapshot
from tests.support.channel_histories import (
    HISTORIES,
    WINDOWS,
    Turn,
    append,
    channels,
    from_all,
    replayed,
    state,
)
from tests.support.channel_histories import row as row_of

bounded = settings(deadline=None, max_examples=300, database=None)
PAIR = (row_of("message", "Hello"), row_of("answer", "Hi."))
DAMAGED = [
    b"",
    b"\0\xff",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"persona": null}',
    b'{"persona": null, "exchanges": 5}',
    b'{"persona": null, "exchanges": [["alice", "Hello"]]}',
    b'{"persona": null, "exchanges": [["alice", "Hello", "Hi."',
]


def save(connection: sqlite3.Connection, upto: int, body: bytes, name: str = "#a") -> None:
    snapshots.save(connection, name, upto, 0, body)


def woken(loaded: LoadedSnapshot, window: int) -> Conversation:
    """A channel's conversation, as its actor builds it."""
    conversation = Conversation(window)
    if loaded.body is not None:
        conversation = Conversation.decode(loaded.body, window)
    return replayed(conversation, loaded.rows)


@bounded
@given(HISTORIES, st.lists(HISTORIES, max_size=3), WINDOWS)
def test_a_snapshot_at_any_point_changes_nothing_of_the_conversation(
    first: list[Turn], later: list[list[Turn]], window: int
) -> None:
    with channels("#a") as connection:
        turns: list[Turn] = []
        for more in [first, *later]:
            whole = [(row_of("help"),), *more]  # so that no turn is cut in two
            turns += whole
            newest = append(connection, whole)
            loaded = snapshots.load(connection, "#a", window)
            conversation = woken(loaded, window)
            assert state(conversation) == state(from_all(turns, window))
            assert loaded.upto == newest == history.newest(connection, 1)
            by_history_alone = snapshots.load(connection, "#a", window, trust_snapshot=False)
            assert by_history_alone.upto == newest
            assert state(woken(by_history_alone, window)) == state(conversation)
            save(connection, loaded.upto, conversation.encode())


@bounded
@given(HISTORIES, WINDOWS, st.data())
def test_a_window_that_has_become_smaller_shows_the_newest_of_it(
    turns: list[Turn], window: int, data: st.DataObject
) -> None:
    with channels("#a") as connection:
        newest = append(connection, turns)
        save(connection, newest, from_all(turns, window).encode())
        smaller = data.draw(st.integers(1, window))
        loaded = snapshots.load(connection, "#a", smaller)
        assert state(woken(loaded, smaller)) == state(from_all(turns, smaller))


def test_a_snapshot_is_given_with_the_rows_after_it(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO channel VALUES (1, '#a', 0)")
    reached = append(connection, [PAIR])
    save(connection, reached, b"first")
    assert snapshots.load(connection, "#a", 4) == LoadedSnapshot(b"first", reached, reached, [])
    newest = append(connection, [PAIR])
    loaded = snapshots.load(connection, "#a", 4)
    assert (loaded.body, loaded.snapshot_upto, loaded.upto) == (b"first", reached, newest)
    assert [past.kind for past in loaded.rows] == ["message", "answer"]


def test_it_reaches_the_newest_row_even_if_that_changes_no_conversation() -> None:
    with channels("#a") as connection:
        newest = append(connection, [PAIR, (row_of("prompt"), row_of("completion"))])
        loaded = snapshots.load(connection, "#a", 4)
        assert (loaded.upto, [past.kind for past in loaded.rows]) == (newest, ["message", "answer"])


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [((4, b"new"), (2, b"old"), b"new"), ((2, b"old"), (4, b"new"), b"new")],
)
def test_a_snapshot_never_goes_back(
    connection: sqlite3.Connection,
    first: tuple[int, bytes],
    second: tuple[int, bytes],
    wanted: bytes,
) -> None:
    connection.execute("INSERT INTO channel VALUES (1, '#a', 0)")
    append(connection, [PAIR] * 2)
    save(connection, *first)
    save(connection, *second)
    loaded = snapshots.load(connection, "#a", 4)
    assert (loaded.body, loaded.snapshot_upto) == (wanted, 4)


def test_a_snapshot_of_the_same_row_replaces_a_damaged_one(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("INSERT INTO channel VALUES (1, '#a', 0)")
    reached = append(connection, [PAIR])
    save(connection, reached, b"damaged")
    save(connection, reached, b"whole")
    assert snapshots.load(connection, "#a", 4).body == b"whole"


@pytest.mark.parametrize("body", DAMAGED)
def test_if_a_snapshot_is_damaged_the_history_alone_gives_the_state(body: bytes) -> None:
    with channels("#a") as connection:
        turns = [PAIR, (row_of("persona", persona="pirate"),), PAIR]
        newest = append(connection, turns)
        save(connection, newest, body)
        with pytest.raises(ValueError, match="damaged"):
            woken(snapshots.load(connection, "#a", 4), 4)
        loaded = snapshots.load(connection, "#a", 4, trust_snapshot=False)
        assert (loaded.body, loaded.snapshot_upto, loaded.upto) == (None, 0, newest)
        assert state(woken(loaded, 4)) == state(from_all(turns, 4))


def test_an_unknown_channel_is_new(connection: sqlite3.Connection) -> None:
    save(connection, 7, b"of nobody", name="#nowhere")
    assert snapshots.load(connection, "#nowhere", 4) == LoadedSnapshot(None, 0, 0, [])
    assert connection.execute("SELECT count(*) FROM channel").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM snapshot").fetchone() == (0,)


def test_each_channel_has_its_own_snapshot(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO channel VALUES (1, '#a', 0), (2, '#b', 0)")
    append(connection, [PAIR], 1)
    append(connection, [PAIR], 2)
    save(connection, 2, b"of a", "#a")
    save(connection, 4, b"of b", "#b")
    assert snapshots.load(connection, "#a", 4).body == b"of a"
    assert snapshots.load(connection, "#b", 4).body == b"of b"
