"""Tests of operators' queries, against a plain Python count of the same rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.errors import CannotOpen
from storage.history import Row
from storage.queries import channels, entries, totals, turns
from storage.queries.channels import Channel
from storage.queries.entries import HistoryEntry
from storage.queries.reader import reading
from storage.queries.selection import Selection
from tests.support.archive import Archive

HOUR_MS = 3_600_000


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        yield archive


@pytest.fixture
def reader(archive: Archive) -> Iterator[sqlite3.Connection]:
    with reading(archive.path) as connection:
        yield connection


def names(found: list[Channel]) -> list[str]:
    return [each.name for each in found]


def busy(archive: Archive) -> None:
    """#a: 3 messages of 1 speaker, 30 tokens; #b: 2 of 2, 40; #c: 1 of 1, none; #d: nothing."""
    archive.say("x", user="alice", channel="#c", ts_ms=1)
    for tokens in (4, 5, 6):
        archive.say("x", channel="#a", ts_ms=2, prompt_tokens=5, completion_tokens=tokens)
    archive.say("x", user="alice", channel="#b", ts_ms=3, prompt_tokens=40, completion_tokens=0)
    archive.add([Row("persona", "p", "bob", persona="pirate")], "#b", 4)
    archive.say("x", user="bob", channel="#b", kind="error", code="busy", ts_ms=5, persona="poet")
    archive.channel_id("#d")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", ["#a", "#b", "#c", "#d"]),
        ("messages", ["#a", "#b", "#c", "#d"]),
        ("speakers", ["#b", "#a", "#c", "#d"]),
        ("tokens", ["#b", "#a", "#c", "#d"]),
        ("activity", ["#b", "#a", "#c", "#d"]),
    ],
)
def test_channels_are_sorted_as_asked_and_the_first_are_the_same_without_the_rest(
    archive: Archive, reader: sqlite3.Connection, order: channels.Order, expected: list[str]
) -> None:
    busy(archive)
    assert names(channels.channels(reader, order, 10)) == expected
    for limit in range(4):
        assert names(channels.channels(reader, order, limit)) == expected[:limit]


@pytest.mark.parametrize("order", ["name", "messages", "activity"])
def test_a_channel_has_the_same_totals_in_each_order(
    archive: Archive, reader: sqlite3.Connection, order: channels.Order
) -> None:
    busy(archive)
    found = {each.name: each for each in channels.channels(reader, order, 10)}
    assert found["#b"] == Channel("#b", 2, 2, "pirate", 40, 0, 5)
    assert found["#a"] == Channel("#a", 3, 1, None, 15, 15, 2)
    assert found["#d"] == Channel("#d", 0, 0, None, 0, 0, None)


def test_an_unknown_channel_has_similar_ones(archive: Archive, reader: sqlite3.Connection) -> None:
    for name in ("#lobby", "#dev", "Rust-Beginners"):
        archive.channel_id(name)
    assert channels.find(reader, "#loby") is None
    assert channels.nearest(reader, "#loby") == ["#lobby"]
    assert channels.nearest(reader, "rust") == ["Rust-Beginners"]
    assert channels.nearest(reader, "lobby") == ["#lobby"]
    assert channels.nearest(reader, "zzzzzz") == []
    assert channels.nearest(reader, "") == []


def talk(archive: Archive) -> list[tuple[str, str, int, str, int | None]]:
    """(channel, user, ts_ms, outcome, latency) of the turns that it adds."""
    told: list[tuple[str, str, int, str, int | None]] = []
    for number in range(60):
        channel, user = f"#{number % 3}", f"user{number % 4}"
        ts_ms = 1_790_000_000_000 + number * HOUR_MS
        if number % 10 == 9:
            archive.say(
                "x", "no", channel=channel, user=user, ts_ms=ts_ms, kind="error", code="busy"
            )
            told.append((channel, user, ts_ms, "busy", None))
        elif number % 15 == 7:
            archive.say("x", "", channel=channel, user=user, ts_ms=ts_ms, kind="cancelled")
            told.append((channel, user, ts_ms, "cancelled", None))
        else:
            latency = number * 37 % 1000
            archive.say(
                "x", channel=channel, user=user, ts_ms=ts_ms, latency_ms=latency,
                prompt_tokens=2, completion_tokens=3, persona="p", provider="o", model="m",
            )  # fmt: skip
            told.append((channel, user, ts_ms, "answer", latency))
    archive.add([Row("reset", "r", "user1")], "#1")
    return told


@pytest.mark.parametrize(("by", "column"), [("channel", 0), ("user", 1)])
def test_totals_equal_a_count_by_hand(
    archive: Archive, reader: sqlite3.Connection, by: totals.By, column: int
) -> None:
    told = talk(archive)
    found = {each.key: each for each in totals.totals(reader, Selection(), by, 100)}
    assert set(found) == {turn[column] for turn in told}
    for key, total in found.items():
        own = [turn for turn in told if turn[column] == key]
        outcomes = Counter(turn[3] for turn in own)
        assert total.turns == len(own)
        assert (total.answers, total.cancelled) == (outcomes["answer"], outcomes["cancelled"])
        assert total.errors == Counter({"busy": outcomes["busy"]} if outcomes["busy"] else {})
        assert (total.prompt_tokens, total.completion_tokens) == (
            2 * total.answers,
            3 * total.answers,
        )
        latencies = sorted(turn[4] for turn in own if turn[4] is not None)
        for percent, value in ((50, total.p50_ms), (90, total.p90_ms), (99, total.p99_ms)):
            assert value in latencies
            assert sum(each <= (value or 0) for each in latencies) >= percent / 100 * len(latencies)
            assert sum(each < (value or 0) for each in latencies) < percent / 100 * len(latencies)


def test_all_turns_together_and_those_of_a_time_are_counted(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    told = talk(archive)
    (total,) = totals.totals(reader, Selection(), None, 1)
    assert (total.key, total.turns) == (None, 60)
    since, until = told[10][2], told[20][2]
    (some,) = totals.totals(reader, Selection(since_ms=since, until_ms=until), None, 1)
    assert some.turns == 10
    (nothing,) = totals.totals(reader, Selection(since_ms=9**15), None, 1)
    assert (nothing.turns, nothing.p50_ms) == (0, None)


def test_the_keys_with_the_most_turns_come_first_and_days_in_their_order(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    talk(archive)
    archive.say("x", user="user3", ts_ms=1_790_000_000_000)
    assert [each.key for each in totals.totals(reader, Selection(), "user", 1)] == ["user3"]
    days = [str(each.key) for each in totals.totals(reader, Selection(), "day", 100)]
    assert days == sorted(days)
    newest = totals.totals(reader, Selection(), "day", 2)
    assert [each.key for each in newest] == days[-2:]
    by_model = {each.key: each.turns for each in totals.totals(reader, Selection(), "model", 9)}
    assert by_model == {"m": 50, None: 11}


def test_entries_are_whole_rows_in_their_order(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    archive.say("one", "two", user="bob", ts_ms=7, persona="p", latency_ms=3, details={"a": 1})
    archive.say("three", "four", channel="#other")
    first, second = entries.newest(reader, Selection(archive.channel_id("#lobby")), 10)
    assert (first.content, first.channel, first.seq, first.username) == ("one", "#lobby", 1, "bob")
    assert (second.content, second.details, second.latency_ms) == ("two", {"a": 1}, 3)
    assert second.record["digest"] == second.digest.hex()
    assert [each.content for each in entries.newest(reader, Selection(), 2)] == ["three", "four"]


def test_a_long_selection_is_given_in_order_and_ends_where_it_ended_at_the_start(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    archive.connection.execute("BEGIN")
    for number in range(1300):
        archive.say(str(number), "", channel=f"#{number % 2}")
    archive.connection.execute("COMMIT")
    contents = []
    for each in entries.in_order(reader, Selection()):
        contents += [each.content] if each.content else []
        if each.id == 1:
            archive.say("too late")
    assert contents == [str(number) for number in range(1300)]
    own = entries.in_order(reader, Selection(archive.channel_id("#1")))
    assert [each.content for each in own if each.content] == [str(n) for n in range(1, 1300, 2)]


def test_an_outcome_is_published_when_the_outbox_says_so_and_later_the_history(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    row_id = archive.say("x", request_id="r")
    archive.connection.execute(
        "INSERT INTO outbox (channel_id, request_id, kind, replies, body, created_ms, published_ms,"
        " history_id) VALUES (1, 'r', 'response', '[]', x'', 0, 77, ?)",
        (row_id,),
    )
    assert [each.published_ms for each in entries.newest(reader, Selection(), 2)] == [None, 77]
    archive.connection.execute("DELETE FROM outbox")
    archive.connection.execute("UPDATE history SET published_ms = 78 WHERE id = ?", (row_id,))
    assert entries.newest(reader, Selection(), 1)[0].published_ms == 78


def shown(connection: sqlite3.Connection, request_id: str, pairs: int) -> list[str]:
    (turn,) = turns.find(connection, request_id)
    return [message.content for message, _ in turns.exchanges_before(connection, turn, pairs)]


def test_a_turn_is_found_with_the_messages_before_it(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    archive.say("old")
    archive.add([Row("reset", "r", "alice")])
    archive.say("one")
    archive.say("failed", kind="error", code="busy")
    archive.say("elsewhere", channel="#other")
    archive.say("two")
    archive.say("raw", kind="completion")
    archive.say("asked", "said", request_id="wanted")
    archive.say("later")
    (turn,) = turns.find(reader, "wanted")
    assert isinstance(turn.asked, HistoryEntry)
    assert (turn.asked.content, turn.outcome.content, turn.uses) == ("asked", "said", 1)
    assert shown(reader, "wanted", 9)[:2] == ["one", "two"]
    assert shown(reader, "wanted", 1) == ["two"]
    assert shown(reader, "wanted", 0) == []
    assert turns.find(reader, "unknown") == []


def test_of_a_request_that_was_used_again_the_newest_turn_is_found(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    archive.say("first", request_id="r")
    archive.say("second", request_id="r")
    archive.say("third", request_id="r", channel="#other")
    found = {turn.outcome.channel: turn for turn in turns.find(reader, "r")}
    assert found["#lobby"].uses == 2
    assert found["#lobby"].asked is not None
    assert found["#lobby"].asked.content == "second"
    only = turns.find(reader, "r", archive.channel_id("#other"))
    assert [turn.asked.content for turn in only if turn.asked] == ["third"]


def test_messages_erased_before_a_turn_were_not_shown_those_erased_later_were(
    archive: Archive, reader: sqlite3.Connection
) -> None:
    archive.say("gone by then")
    archive.say("shown, and erased since")
    archive.say("asked", request_id="wanted", details={"started_ms": 100})
    for row_id, at_ms in ((1, 50), (2, 50), (3, 200), (4, 200)):
        archive.erase(row_id, at_ms)
    (turn,) = turns.find(reader, "wanted")
    pairs = turns.exchanges_before(reader, turn, 9)
    assert [(message.id, message.erased_ms) for message, _ in pairs] == [(3, 200)]


def test_an_unknown_id_has_similar_ones(archive: Archive, reader: sqlite3.Connection) -> None:
    for number in range(50):
        archive.say("x", request_id=f"{number:02}-some-long-id")
    assert turns.nearest(reader, "17-some")[0] == "17-some-long-id"
    assert turns.nearest(reader, "17-some-lonf-id")[0] == "17-some-long-id"
    assert turns.nearest(reader, "nothing at all") == []


def test_a_file_that_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("notes")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (a)")
    for name in ("missing", "notes", "other.db"):
        with pytest.raises(CannotOpen, match=name), reading(tmp_path / name):
            pass
