import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actors.conversation import Conversation, Exchange
from storage import history
from storage.row_kinds import Kind
from tests.support.channel_histories import (
    HISTORIES,
    WINDOWS,
    Turn,
    append,
    channels,
    from_all,
    model_row,
    replayed,
    row,
    state,
)

bounded = settings(deadline=None, max_examples=300, database=None)
PAIR = (row("message", "Hello"), row("answer", "Hi."))
FAILED = (row("message", "Hello"), row("error", "No luck."))
COMPLETION = (row("prompt", "x" * 1000), row("completion", "y" * 1000))
RESET = (row("reset"),)


def persona(name: str) -> Turn:
    return (row("persona", persona=name),)


def model(name: str | None) -> Turn:
    return (model_row("ollama", name),)


def kinds(connection: sqlite3.Connection, after_id: int = 0, window: int = 4) -> list[Kind]:
    return [past.kind for past in history.tail(connection, 1, after_id, window)]


@bounded
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=30))
def test_each_channel_counts_its_rows_without_gaps(appended: list[tuple[int, int]]) -> None:
    with channels("#a", "#b", "#c") as connection:
        for channel_id, size in appended:
            history.append(connection, [history.TurnRows(channel_id, 0, [row("help")] * size)])
        for channel_id in (1, 2, 3):
            found = connection.execute(
                "SELECT seq FROM history WHERE channel_id = ? ORDER BY id", (channel_id,)
            )
            rows = sum(size for each, size in appended if each == channel_id)
            assert [seq for (seq,) in found] == list(range(1, rows + 1))


def test_appending_gives_the_id_of_the_last_row(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO channel VALUES (1, '#a', 0), (2, '#b', 0)")
    assert history.append(connection, [history.TurnRows(1, 0, PAIR)]) == [2]
    assert history.append(connection, [history.TurnRows(2, 0, RESET)]) == [3]
    assert history.append(connection, [history.TurnRows(1, 0, ())]) == [2]
    assert [history.newest(connection, channel_id) for channel_id in (1, 2, 3)] == [2, 3, 0]


def test_rows_of_an_unknown_channel_are_refused(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        history.append(connection, [history.TurnRows(99, 0, RESET)])


@bounded
@given(HISTORIES, WINDOWS)
def test_the_tail_gives_the_same_conversation_as_all_rows(turns: list[Turn], window: int) -> None:
    with channels("#a") as connection:
        append(connection, turns)
        tail = history.tail(connection, 1, 0, window)
        assert [past.id for past in tail] == sorted({past.id for past in tail})
        assert state(replayed(Conversation(window), tail)) == state(from_all(turns, window))


@bounded
@given(st.lists(st.tuples(st.integers(1, 2), HISTORIES), max_size=6), WINDOWS)
def test_another_channel_is_no_part_of_it(
    interleaved: list[tuple[int, list[Turn]]], window: int
) -> None:
    with channels("#a", "#b") as connection:
        for channel_id, turns in interleaved:
            append(connection, turns, channel_id)
        for channel_id in (1, 2):
            own = [turn for each, turns in interleaved if each == channel_id for turn in turns]
            tail = history.tail(connection, channel_id, 0, window)
            assert state(replayed(Conversation(window), tail)) == state(from_all(own, window))


@bounded
@given(HISTORIES, HISTORIES, WINDOWS)
def test_the_rows_after_any_point_continue_from_there(
    before: list[Turn], after: list[Turn], window: int
) -> None:
    with channels("#a") as connection:
        reached = append(connection, before)
        append(connection, after)
        there = from_all(before, window)
        tail = history.tail(connection, 1, reached, window)
        assert all(past.id > reached for past in tail)
        wanted = from_all([*before, *_whole(before, after)], window)
        assert state(replayed(there, tail)) == state(wanted)


def _whole(before: list[Turn], after: list[Turn]) -> list[Turn]:
    """Turns are whole: no answer at the beginning belongs to a message at the end of `before`."""
    rows = [row for turn in before for row in turn]
    if rows and rows[-1].kind == "message" and after and after[0][0].kind == "answer":
        return [(row("help"),), *after]
    return after


@pytest.mark.parametrize("window", range(1, 13))
def test_no_more_is_read_than_the_window_needs(window: int) -> None:
    with channels("#a") as connection:
        append(connection, [persona("pirate"), *[PAIR] * 50])
        tail = history.tail(connection, 1, 0, window)
        pairs = [past for past in tail if past.kind in ("message", "answer")]
        assert window <= len(pairs) <= window + 1
        assert tail[0].kind == "persona"


def test_nothing_before_a_reset_is_read_but_persona_and_model() -> None:
    with channels("#a") as connection:
        switches = [persona("poet"), model("a"), persona("pirate"), model("b")]
        append(connection, [*switches, *[PAIR] * 3, RESET, PAIR])
        tail = history.tail(connection, 1, 0, 4)
        assert [past.kind for past in tail] == ["persona", "model", "reset", "message", "answer"]
        assert (tail[0].persona, tail[1].model) == ("pirate", "b")


def test_the_newest_persona_wins() -> None:
    with channels("#a") as connection:
        append(connection, [persona("pirate"), RESET, persona("poet"), PAIR, PAIR, PAIR])
        conversation = replayed(Conversation(4), history.tail(connection, 1, 0, 4))
        assert conversation.persona == "poet"
        assert list(conversation.exchanges) == [Exchange("alice", "Hello", "Hi.")] * 2


def test_the_newest_model_wins_and_none_is_the_configured_one() -> None:
    with channels("#a") as connection:
        append(connection, [model("a"), RESET, model("b"), PAIR, PAIR, PAIR])
        conversation = replayed(Conversation(4), history.tail(connection, 1, 0, 4))
        assert conversation.model == ("ollama", "b")
        append(connection, [model(None), PAIR, PAIR, PAIR])
        conversation = replayed(Conversation(4), history.tail(connection, 1, 0, 4))
        assert conversation.model is None


def test_failed_turns_and_completions_take_no_place_in_memory() -> None:
    with channels("#a") as connection:
        append(connection, [PAIR, *[COMPLETION, FAILED] * 500, PAIR])
        assert kinds(connection, window=4) == ["message", "answer"] * 2
        assert kinds(connection, window=12) == ["message", "answer"] * 2


def test_a_message_whose_turn_failed_is_not_taken_for_the_next_ones(
    connection: sqlite3.Connection,
) -> None:
    with channels("#a") as connection:
        append(connection, [FAILED, (row("message", "Again"), row("answer", "Now."))])
        conversation = replayed(Conversation(4), history.tail(connection, 1, 0, 4))
        assert list(conversation.exchanges) == [Exchange("alice", "Again", "Now.")]


def test_a_channel_without_rows_has_no_tail(connection: sqlite3.Connection) -> None:
    assert history.tail(connection, 1, 0, 4) == []


def steps(connection: sqlite3.Connection, window: int, after_id: int = 0) -> int:
    """Return how many of its own steps SQLite takes for a tail."""
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1

    connection.set_progress_handler(step, 1)
    history.tail(connection, 1, after_id, window)
    connection.set_progress_handler(None, 1)
    return taken


@pytest.mark.parametrize(
    "newest", [[persona("poet"), *[PAIR] * 6], [persona("poet"), RESET], [persona("poet")]]
)
def test_the_length_of_a_history_costs_nothing(newest: list[Turn]) -> None:
    taken = []
    for length in (20, 1000):
        with channels("#a") as connection:
            append(connection, [persona("pirate"), *[PAIR] * length, *newest])
            taken.append(steps(connection, 12))
    assert taken[0] == taken[1]


def test_after_a_snapshot_no_row_before_it_is_read() -> None:
    taken = []
    for length in (20, 1000):
        with channels("#a") as connection:
            reached = append(connection, [PAIR] * length)
            append(connection, [PAIR] * 3)
            taken.append(steps(connection, 12, reached))
    assert taken[0] == taken[1]
