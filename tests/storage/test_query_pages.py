"""Tests of the audit page's queries: they leave nothing out, at a bounded cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import history
from storage.history import Row
from storage.queries import activity, backlog, recent_channels, recent_turns, scrollback, turn_by_id
from storage.queries.time_limit import TookTooLong, time_limit
from storage.row_kinds import Kind
from tests.support.channel_histories import TURNS, Turn, append, channels

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
PAGES = 100  # more than any test has
ROOMS = ("a", "b", "c", "d", "e")


@pytest.fixture
def rooms() -> Iterator[sqlite3.Connection]:
    with channels(*ROOMS) as connection:
        yield connection


def say(
    connection: sqlite3.Connection,
    channel_id: int,
    ts_ms: int = 0,
    kind: Kind = "answer",
    user: str = "alice",
    **facts: object,
) -> int:
    rows = [Row("message", "r", user, "Hello"), Row(kind, "r", user, "Hi", **facts)]  # type: ignore[arg-type]
    return history.append(connection, [history.TurnRows(channel_id, ts_ms, rows)])[0]


def all_rooms(connection: sqlite3.Connection, limit: int) -> list[int]:
    """Return the channels, page after page."""
    found: list[int] = []
    before = None
    for _ in range(PAGES):
        page = recent_channels.recent_channels(connection, before=before, limit=limit)
        found += [channel.id for channel in page.channels]
        before = page.next_before
        if before is None:
            return found
    raise AssertionError("the pages never end")


@given(st.lists(st.integers(1, len(ROOMS)), max_size=40), st.integers(1, 6), st.booleans())
def test_pages_of_channels_name_each_once_the_most_recent_first(
    spoken: list[int], limit: int, many: bool
) -> None:
    with channels(*ROOMS) as connection, pytest.MonkeyPatch.context() as patch:
        if many:  # the way for too many channels to sort
            patch.setattr(recent_channels, "MANY", 0)
            patch.setattr(recent_channels, "SCANNED_ROWS", 5)
        for channel_id in spoken:
            say(connection, channel_id)
        recent = list(dict.fromkeys(reversed(spoken)))
        assert all_rooms(connection, limit) == recent


def test_a_channel_is_found_by_a_part_of_its_name_in_any_case(rooms: sqlite3.Connection) -> None:
    rooms.execute("INSERT INTO channel VALUES (9, '#Garden', 0)")
    say(rooms, 9)
    say(rooms, 1)
    found = recent_channels.recent_channels(rooms, before=None, limit=5, name="gARd")
    assert [channel.name for channel in found.channels] == ["#Garden"]


def test_a_channel_is_summarized(rooms: sqlite3.Connection) -> None:
    say(rooms, 1, 10, prompt_tokens=3, completion_tokens=4)
    say(rooms, 1, 20, "error", "bob", code="busy")
    history.append(rooms, [history.TurnRows(1, 30, [Row("persona", "r", "bob", persona="poet")])])
    (line,) = recent_channels.recent_channels(rooms, before=None, limit=5).channels
    assert (line.messages, line.speakers, line.tokens) == (2, 2, 7)
    assert (line.persona, line.newest_ms, line.rows, line.partly) == ("poet", 30, 5, False)


@given(st.lists(TURNS, max_size=25), st.integers(1, 9))
def test_pages_of_a_channel_hold_all_of_it_back_and_forth(turns: list[Turn], limit: int) -> None:
    with channels("a", "b") as connection:
        for turn in turns:
            append(connection, [turn], 2)
            append(connection, [turn])
        rows = [row[0] for row in connection.execute("SELECT id FROM history WHERE channel_id = 1")]
        page = scrollback.back(connection, 1, limit=limit)
        backwards = [entry.id for entry in page.entries]
        for _ in range(PAGES):
            if page.older is None:
                break
            page = scrollback.back(connection, 1, before=page.older, limit=limit)
            backwards = [entry.id for entry in page.entries] + backwards
        assert backwards == rows
        forwards = [entry.id for entry in page.entries]
        for _ in range(PAGES):
            if page.newer is None:
                break
            page = scrollback.forth(connection, 1, after=page.newer, limit=limit)
            forwards += [entry.id for entry in page.entries]
        assert forwards == rows


@given(st.lists(st.sampled_from(["alice", "bob"]), max_size=30), st.integers(2, 7))
def test_the_rows_of_one_user_are_all_found_a_window_at_a_time(
    users: list[str], limit: int
) -> None:
    with channels("a") as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrollback, "WINDOW_ROWS", 6)
        for user in users:
            say(connection, 1, user=user)
        found: list[int] = []
        before: int | None = 10**9
        for _ in range(PAGES):
            if before is None:
                break
            page = scrollback.back(connection, 1, before=before, user="bob", limit=limit)
            found = [entry.id for entry in page.entries] + found
            before = page.older
        rows = connection.execute("SELECT id FROM history WHERE username = 'bob'")
        assert found == [row[0] for row in rows]


def test_a_row_is_shown_among_its_neighbours(rooms: sqlite3.Connection) -> None:
    for _ in range(20):
        say(rooms, 1)
    page = scrollback.around(rooms, 1, at=21, limit=6)
    assert [entry.id for entry in page.entries] == [19, 20, 21, 22, 23, 24]
    assert (page.older, page.newer) == (19, 24)


@given(st.lists(TURNS, min_size=1, max_size=15))
def test_the_whole_turn_of_every_row_is_found(turns: list[Turn]) -> None:
    with channels("a", "b") as connection:
        for number, turn in enumerate(turns):
            append(connection, [turn], 2)
            first = number and placed_rows(connection, 1)[-1]
            last = append(connection, [turn])
            ids = [
                row[0]
                for row in connection.execute(
                    "SELECT id FROM history WHERE channel_id = 1 AND id > ? AND id <= ?",
                    (first, last),
                )
            ]
            for row_id in ids:
                found = turn_by_id.turn_by_id(connection, row_id)
                assert found is not None
                assert [entry.id for entry in found.rows] == ids
                assert (found.before, found.after) == (first or None, None)


def placed_rows(connection: sqlite3.Connection, channel_id: int) -> list[int]:
    rows = connection.execute("SELECT id FROM history WHERE channel_id = ?", (channel_id,))
    return [row[0] for row in rows]


def test_an_unknown_row_has_no_turn(rooms: sqlite3.Connection) -> None:
    assert turn_by_id.turn_by_id(rooms, 1) is None


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["answer", "error"])), max_size=30),
    st.integers(1, 5),
    st.sampled_from([{}, {"channel": "2"}, {"kind": "error"}, {"channel": "3", "kind": "answer"}]),
)
def test_pages_of_turns_hold_all_selected_turns_and_count_them(
    said: list[tuple[int, Kind]], limit: int, chosen: dict[str, str]
) -> None:
    with channels(*ROOMS) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent_turns, "WINDOW_ROWS", 8)
        wanted: list[int] = []
        for channel_id, kind in said:
            row_id = say(connection, channel_id, kind=kind)
            facts = {"channel": str(channel_id), "kind": kind}
            if chosen.items() <= facts.items():
                wanted.insert(0, row_id)
        found: list[int] = []
        before: int | None = None
        for _ in range(PAGES):
            page = recent_turns.find(connection, chosen, before=before, limit=limit)
            found += [outcome.id for outcome in page.outcomes]
            assert all(outcome.question == "Hello" for outcome in page.outcomes)
            counted = sum(value.count for value in page.facets["kind"])
            assert len(page.outcomes) <= counted <= 8
            before = page.next_before
            if before is None:
                break
        assert found == wanted


def test_facets_name_channels_and_count_the_most_first(rooms: sqlite3.Connection) -> None:
    for channel_id, persona in ((1, "poet"), (2, "poet"), (2, "pirate"), (2, "poet")):
        say(rooms, channel_id, persona=persona)
    facets = recent_turns.find(rooms, {}, before=None, limit=9).facets
    assert [(v.key, v.label, v.count) for v in facets["channel"]] == [("2", "b", 3), ("1", "a", 1)]
    assert [(value.label, value.count) for value in facets["persona"]] == [
        ("poet", 3),
        ("pirate", 1),
    ]
    assert facets["provider"] == []


@given(st.lists(st.integers(0, 100), max_size=40), st.lists(st.integers(0, 100), max_size=6))
def test_slices_of_time_hold_every_turn_once(moments: list[int], starts: list[int]) -> None:
    moments, starts = sorted(moments), sorted({0, *starts})
    with channels("a") as connection:
        for ts_ms in moments:
            say(connection, 1, ts_ms, prompt_tokens=1)
        slices = activity.slices(connection, starts)
    ends = [*starts[1:], 10**9]
    expected = [
        sum(start <= m < end for m in moments) for start, end in zip(starts, ends, strict=True)
    ]
    assert [each.turns for each in slices] == expected
    assert [each.prompt_tokens for each in slices] == expected
    assert not any(each.about for each in slices)


def test_a_slice_with_many_rows_is_estimated_and_says_so(
    rooms: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "SAMPLE", 40)
    for number in range(207):
        say(rooms, 1, 5, "error" if number % 5 == 0 else "answer", code="busy")
    monkeypatch.setattr(activity, "EXACT", 1000)
    (found,) = activity.slices(rooms, [0])
    assert (found.about, found.turns, found.answered) == (False, 207, 165)
    monkeypatch.setattr(activity, "EXACT", 100)
    (found,) = activity.slices(rooms, [0])
    assert (found.about, found.answered, found.errors) == (True, 170, {"busy": 41})


@pytest.mark.parametrize(("number", "shown"), [(0, 0), (4, 4), (17.4, 17), (4737, 4700)])
def test_an_estimate_is_round(number: float, shown: int) -> None:
    assert activity.estimate(number) == shown


def test_waiting_commands_and_unpublished_outcomes_are_counted(rooms: sqlite3.Connection) -> None:
    assert backlog.backlog(rooms, 0) == backlog.Backlog(0, None, 0, 0)
    assert backlog.totals(rooms) == backlog.StoreTotals(0, 5, None)
    rooms.execute("INSERT INTO mailbox VALUES (1, 1, 'r', 'u', x'', '[]', 0, 7, NULL)")
    rooms.execute(
        "INSERT INTO outbox (channel_id, request_id, kind, replies, body, created_ms,"
        " published_ms) VALUES (1, 'r', 'response', '[]', x'', 0, NULL),"
        " (1, 's', 'response', '[]', x'', 0, 5)"
    )
    rooms.execute("INSERT INTO suspension VALUES (1, 100), (2, 50)")
    say(rooms, 1, 9)
    assert backlog.backlog(rooms, 60) == backlog.Backlog(1, 7, 1, 1)
    assert backlog.totals(rooms) == backlog.StoreTotals(2, 5, 9)


def test_a_query_that_takes_too_long_is_interrupted(rooms: sqlite3.Connection) -> None:
    with pytest.raises(TookTooLong), time_limit(rooms, 0.02):
        rooms.execute(ENDLESS).fetchone()
    assert rooms.execute("SELECT 1").fetchone() == (1,)


def test_a_channel_that_never_switched_has_the_persona_that_answered_last(
    rooms: sqlite3.Connection,
) -> None:
    history.append(rooms, [history.TurnRows(1, 0, [Row("reset", "r", "bob")])])
    assert recent_channels.persona_of(rooms, 1) is None
    say(rooms, 1, persona="concise")
    say(rooms, 1, kind="error", code="busy")
    assert recent_channels.persona_of(rooms, 1) == "concise"
    history.append(rooms, [history.TurnRows(1, 0, [Row("persona", "r", "bob", persona="poet")])])
    say(rooms, 1, persona="concise")  # for one message only
    assert recent_channels.persona_of(rooms, 1) == "poet"
