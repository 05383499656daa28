import sqlite3
from functools import partial
from pathlib import Path

import pytest

from storage import mailboxes, outbox
from storage.history import Row
from storage.mailboxes import Accepted, AlreadyWaiting, Waiting
from storage.outbox import Settled
from storage.writer.database import Database
from tests.support import command_writes
from tests.support.mailbox_commands import accepted, answered, kept, put, settle, settle_at_once

# The rules do not depend on where the database is; these few also run on a file.
on_file_too = pytest.mark.parametrize("connection", ["memory", "file"], indirect=True)

# accepted


def test_a_new_command_is_accepted_and_waits(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection, replies=("reply.1",))
    assert mailboxes.waiting(connection) == [
        Waiting(row_id, "#lobby", "r1", "alice", None, b"#lobby r1", ("reply.1",), 1000)
    ]
    assert outbox.unpublished(connection) == []
    assert kept(connection) == []


def test_a_waiting_command_put_again_is_not_stored_twice(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection)
    assert put(connection, now_ms=9000) == AlreadyWaiting()
    (row,) = mailboxes.waiting(connection)
    assert (row.id, row.accepted_ms) == (row_id, 1000)


@on_file_too
def test_all_senders_of_a_request_are_answered(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection, replies=("a", "b"))
    put(connection, replies=("b", "c"))
    put(connection)
    assert mailboxes.waiting(connection)[0].replies == ("a", "b", "c")
    settled = settle(connection, row_id)
    assert settled is not None
    assert settled.replies == ("a", "b", "c")
    assert outbox.unpublished(connection)[0].replies == ("a", "b", "c")


def test_commands_wait_in_the_order_of_arrival(connection: sqlite3.Connection) -> None:
    asked = [("r1", "#b"), ("r2", "#a"), ("r3", "#b"), ("r1", "#a")]
    for request_id, channel in asked:
        put(connection, request_id, channel, now_ms=5000 - len(mailboxes.waiting(connection)))
    assert [(row.request_id, row.channel) for row in mailboxes.waiting(connection)] == asked


@on_file_too
def test_the_order_stays_when_ids_are_reused(connection: sqlite3.Connection) -> None:
    accepted(connection, "r1")
    settle(connection, accepted(connection, "r2"), "r2")
    accepted(connection, "r3")
    assert [row.request_id for row in mailboxes.waiting(connection)] == ["r1", "r3"]


# attempted


def test_attempts_are_counted(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection)
    assert [mailboxes.take(connection, row_id) for _ in range(3)] == [1, 2, 3]
    assert len(mailboxes.waiting(connection)) == 1


def test_each_command_has_its_own_count(connection: sqlite3.Connection) -> None:
    first, second = accepted(connection, "r1"), accepted(connection, "r2")
    mailboxes.take(connection, first)
    assert mailboxes.take(connection, second) == 1


def test_putting_a_command_again_keeps_its_attempts(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection)
    mailboxes.take(connection, row_id)
    put(connection)
    assert mailboxes.take(connection, row_id) == 2


def test_a_command_that_does_not_wait_has_no_attempts(connection: sqlite3.Connection) -> None:
    assert mailboxes.take(connection, 1) == 0
    row_id = accepted(connection)
    settle(connection, row_id)
    assert mailboxes.take(connection, row_id) == 0


# settled


@on_file_too
def test_settling_stores_the_turn_and_ends_the_waiting(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection, replies=("reply.1",))
    settled = settle(connection, row_id, text="Hi.")
    assert settled == Settled(1, "#lobby", "r1", "response", b"Hi.", ("reply.1",), upto=2)
    assert mailboxes.waiting(connection) == []
    assert kept(connection) == [(1, "message", "Hello"), (2, "answer", "Hi.")]
    assert [each.body for each in outbox.unpublished(connection)] == [b"Hi."]


def test_settled_twice_the_second_result_is_void(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection)
    settle(connection, row_id, text="first")
    before = connection.total_changes
    assert settle(connection, row_id, text="second") is None
    assert connection.total_changes == before
    assert [content for _, _, content in kept(connection)] == ["Hello", "first"]


def test_a_command_that_was_never_accepted_cannot_be_settled(
    connection: sqlite3.Connection,
) -> None:
    assert settle(connection, 1) is None
    assert settle(connection, 1, channel="#nowhere") is None
    assert kept(connection) == []


@pytest.mark.parametrize(("request_id", "channel"), [("r2", "#lobby"), ("r1", "#other")])
def test_a_late_result_never_settles_the_command_that_has_its_id_now(
    connection: sqlite3.Connection, request_id: str, channel: str
) -> None:
    late = accepted(connection, "r1", "#lobby")
    settle(connection, late, "r1", "#lobby")
    assert accepted(connection, request_id, channel) == late
    assert settle(connection, late, "r1", "#lobby", text="late") is None
    assert [row.request_id for row in mailboxes.waiting(connection)] == [request_id]
    assert "late" not in [content for _, _, content in kept(connection, channel)]


def test_a_settled_command_put_again_gets_the_same_bytes(connection: sqlite3.Connection) -> None:
    settled = answered(connection, text="once and for all")
    again = put(connection, replies=("late.reply",))
    assert again == Settled(
        settled.id, "#lobby", "r1", "response", b"once and for all", ("late.reply",)
    )
    assert mailboxes.waiting(connection) == []
    assert len(outbox.unpublished(connection)) == 1


def test_an_error_is_an_outcome_like_any_other(connection: sqlite3.Connection) -> None:
    row = Row("error", "r1", "alice", "No luck.", code="provider_error")
    row_id = accepted(connection)
    command_writes.settle(connection, row_id, "#lobby", "r1", (row,), "error", b"No luck.", 2000)
    again = put(connection)
    assert isinstance(again, Settled)
    assert (again.kind, again.body) == ("error", b"No luck.")


def test_a_turn_is_stored_with_all_its_facts(connection: sqlite3.Connection) -> None:
    row = Row(
        *("answer", "r1", "alice", "Hi.", "pirate", "openai", "gpt", "stop", 41, 9, 812, None)
    )
    row_id = accepted(connection)
    command_writes.settle(connection, row_id, "#lobby", "r1", (row,), "response", b"{}", 2000)
    columns = (
        "ts_ms, kind, request_id, username, content, persona, provider, model, finish_reason,"
        " prompt_tokens, completion_tokens, latency_ms, code"
    )
    found = connection.execute(f"SELECT {columns} FROM history").fetchone()  # noqa: S608
    assert found == (
        *(2000, "answer", "r1", "alice", "Hi.", "pirate", "openai", "gpt", "stop", 41, 9, 812),
        None,
    )


def test_the_same_request_id_in_two_channels_is_two_requests(
    connection: sqlite3.Connection,
) -> None:
    first, second = accepted(connection, "r1", "#a"), accepted(connection, "r1", "#b")
    settle(connection, first, "r1", "#a", text="for a")
    assert [row.channel for row in mailboxes.waiting(connection)] == ["#b"]
    settle(connection, second, "r1", "#b", text="for b")
    again = [put(connection, "r1", channel) for channel in ("#a", "#b")]
    assert [each.body for each in again if isinstance(each, Settled)] == [b"for a", b"for b"]


# settled at once


def test_a_command_may_be_settled_without_having_waited(connection: sqlite3.Connection) -> None:
    settled = settle_at_once(connection, replies=("reply.1",))
    assert settled == Settled(1, "#lobby", "r1", "response", b"Stopped.", ("reply.1",), upto=1)
    assert kept(connection) == [(1, "stop", "")]
    assert outbox.find_settled(connection, "#lobby", "r1", ()) is not None


def test_settled_at_once_again_it_gets_the_first_bytes(connection: sqlite3.Connection) -> None:
    first = settle_at_once(connection, text="Stopped.")
    again = settle_at_once(connection, text="There is nothing to stop.", replies=("b",))
    assert (again.id, again.body, again.replies) == (first.id, b"Stopped.", ("b",))
    assert len(kept(connection)) == 1


def test_settled_at_once_after_it_was_settled_it_gets_the_first_bytes(
    connection: sqlite3.Connection,
) -> None:
    answered(connection, text="Hi.")
    assert settle_at_once(connection).body == b"Hi."
    assert len(kept(connection)) == 2


def test_a_request_that_waits_and_is_settled_at_once_has_one_outcome(
    connection: sqlite3.Connection,
) -> None:
    row_id = accepted(connection, replies=("a", "b"))
    settled = settle_at_once(connection, replies=("b", "c"))
    assert settled.replies == ("a", "b", "c")
    assert mailboxes.waiting(connection) == []
    assert settle(connection, row_id, text="too late") is None
    assert kept(connection) == [(1, "stop", "")]


# published, done


def test_an_outcome_is_unpublished_until_it_is_noted(connection: sqlite3.Connection) -> None:
    settled = [answered(connection, f"r{number}", text=f"t{number}") for number in range(4)]
    command_writes.published(connection, [settled[0].id, settled[2].id], 3000)
    assert [each.body for each in outbox.unpublished(connection)] == [b"t1", b"t3"]
    command_writes.published(connection, [], 3000)
    assert len(outbox.unpublished(connection)) == 2


def test_unpublished_outcomes_come_oldest_first_over_all_channels(
    connection: sqlite3.Connection,
) -> None:
    asked = [("r1", "#b"), ("r2", "#a"), ("r3", "#b")]
    for request_id, channel in asked:
        answered(connection, request_id, channel)
    found = outbox.unpublished(connection)
    assert [(each.request_id, each.channel) for each in found] == asked


def test_a_published_outcome_answers_a_request_sent_again(
    connection: sqlite3.Connection,
) -> None:
    settled = answered(connection)
    command_writes.published(connection, [settled.id], 3000)
    command_writes.published(connection, [settled.id, 99], 4000)
    again = put(connection)
    assert isinstance(again, Settled)
    assert again.body == settled.body
    assert connection.execute("SELECT published_ms FROM outbox").fetchall() == [(3000,)]


@on_file_too
def test_only_published_and_old_outcomes_are_pruned(connection: sqlite3.Connection) -> None:
    made = {
        "old": answered(connection, "old", now_ms=1000),
        "old, unpublished": answered(connection, "old, unpublished", now_ms=1000),
        "young": answered(connection, "young", now_ms=5000),
    }
    command_writes.published(connection, [made["old"].id, made["young"].id], 5000)
    assert outbox.prune(connection, before_ms=5000) == 1
    assert outbox.prune(connection, before_ms=5000) == 0
    assert isinstance(put(connection, "old"), Accepted)
    assert isinstance(put(connection, "old, unpublished"), Settled)
    assert isinstance(put(connection, "young"), Settled)


def test_pruned_outcomes_stay_in_the_history(connection: sqlite3.Connection) -> None:
    command_writes.published(connection, [answered(connection).id], 3000)
    before = kept(connection)
    assert outbox.prune(connection, before_ms=9000) == 1
    assert kept(connection) == before


def test_pruning_goes_in_small_steps(connection: sqlite3.Connection) -> None:
    ids = [answered(connection, f"r{number}").id for number in range(25)]
    command_writes.published(connection, ids, 3000)
    forgotten = [outbox.prune(connection, before_ms=9000, limit=10) for _ in range(4)]
    assert forgotten == [10, 10, 5, 0]


@pytest.mark.parametrize("stuck", [0, 3, 9])
def test_an_outcome_that_cannot_be_published_does_not_stop_pruning(
    connection: sqlite3.Connection, stuck: int
) -> None:
    ids = [answered(connection, f"r{number}").id for number in range(40)]
    command_writes.published(connection, ids[:stuck] + ids[stuck + 1 :], 3000)
    forgotten = sum(outbox.prune(connection, before_ms=9000, limit=5) for _ in range(40))
    assert forgotten == 39
    assert [each.request_id for each in outbox.unpublished(connection)] == [f"r{stuck}"]


def test_nothing_to_prune_is_no_error(connection: sqlite3.Connection) -> None:
    assert outbox.prune(connection, before_ms=9000) == 0


# names

ODD_NAMES = [
    "",
    " ",
    "#lobby.with.dots.>",
    "a\0b",
    "🦄 #ünïcødé \u202e",
    "x" * 10_000,
    "'; DROP TABLE history; --",
    '"quoted" `name` [x] %s ? :name',
    "line\nbreak\r\ttab",
    "NULL",
    "1",
    "1.0",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_any_name_goes_through_the_whole_life_of_a_command(
    connection: sqlite3.Connection, name: str
) -> None:
    row_id = accepted(connection, name, name, replies=(name,))
    (row,) = mailboxes.waiting(connection)
    assert (row.channel, row.request_id, row.replies) == (name, name, (name,))
    assert mailboxes.take(connection, row_id) == 1
    settled = settle(connection, row_id, name, name, text=name)
    assert settled is not None
    assert (settled.channel, settled.replies) == (name, (name,))
    assert put(connection, name, name, replies=(name,)) == outbox.find_settled(
        connection, name, name, (name,)
    )
    assert kept(connection, name)[-1] == (2, "answer", name)


@on_file_too
def test_names_that_look_alike_are_different_channels(connection: sqlite3.Connection) -> None:
    alike = ["a", "A", "a ", "a\0", "a\0b", "a\0c", "1", "1.0", "01", "\u00e9", "e\u0301", ""]
    for name in alike:
        answered(connection, "r1", name, text=f"for {name}")
    for name in alike:
        again = put(connection, "r1", name)
        assert isinstance(again, Settled)
        assert again.body == f"for {name}".encode()


# across a restart


async def test_a_restart_finds_waiting_commands_and_unpublished_outcomes(path: Path) -> None:
    database = Database(path)
    await database.open()
    for request_id in ("r1", "r2", "r3"):
        await database.write(partial(answered, request_id=request_id, text=request_id))
    await database.write(partial(command_writes.published, outbox_ids=[1, 3], now_ms=3000))
    for request_id in ("r4", "r5"):
        row_id = await database.write(partial(accepted, request_id=request_id))
    await database.write(partial(mailboxes.take, row_id=row_id))
    waiting = await database.write(mailboxes.waiting)
    unpublished = await database.write(outbox.unpublished)
    await database.close()
    await database.open()
    assert await database.write(mailboxes.waiting) == waiting
    assert await database.write(outbox.unpublished) == unpublished
    assert [row.request_id for row in waiting] == ["r4", "r5"]
    assert [row.request_id for row in unpublished] == ["r2"]
    assert await database.write(partial(mailboxes.take, row_id=row_id)) == 2
    await database.close()
