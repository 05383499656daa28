"""Tests of batches: commands and outcomes of one group are written together, as if alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from storage import mailboxes, outbox
from storage.commands import Accept, Attempt, MarkPublished, Settle
from storage.history import Row
from storage.mailboxes import Accepted, AlreadyWaiting
from storage.outbox import Settled
from storage.writer.database import Database
from storage.writer.write_queue import Writable
from tests.support import mailbox_commands
from tests.support.channel_writes import held, traced_soon

MANY = 150


def put(request_id: str, channel: str = "#lobby", replies: tuple[str, ...] = ()) -> Accept:
    return Accept(channel, request_id, "alice", request_id.encode(), replies, 1000)


def settle(row_id: int, request_id: str, channel: str = "#lobby") -> Settle:
    rows = (
        Row("message", request_id, "alice", f"{request_id}?"),
        Row("answer", request_id, "alice", f"{request_id}!"),
    )
    return Settle(row_id, channel, request_id, rows, "response", request_id.encode(), 2000)


async def grouped(database: Database, works: Sequence[Writable[Any]]) -> list[Any]:
    async with held(database):
        writes = [database.write_soon(work) for work in works]
    return await asyncio.gather(*writes, return_exceptions=True)


async def accepted(database: Database, requests: Sequence[tuple[str, str]]) -> list[int]:
    found = await grouped(database, [put(request_id, channel) for request_id, channel in requests])
    assert all(isinstance(each, Accepted) for each in found), found
    return [each.id for each in found]


def requests(number: int) -> list[tuple[str, str]]:
    """(request id, channel): each channel has several."""
    return [(f"r{each}", f"#{each % 7}") for each in range(number)]


@pytest.mark.parametrize("number", [1, 2, 3, 63, 64, 65, MANY])
async def test_any_number_of_commands_is_accepted_in_the_order_of_the_calls(
    database: Database, number: int
) -> None:
    ids = await accepted(database, requests(number))
    waiting = await database.write(mailboxes.waiting)
    assert [(row.request_id, row.channel) for row in waiting] == requests(number)
    assert [row.id for row in waiting] == ids


@pytest.mark.parametrize("number", [1, 2, 3, 63, 64, 65, MANY])
async def test_any_number_of_turns_is_stored_each_with_its_own_outcome(
    database: Database, number: int
) -> None:
    asked_for = requests(number)
    ids = await accepted(database, asked_for)
    works = [settle(row_id, *each) for row_id, each in zip(ids, asked_for, strict=True)]
    settled = await grouped(database, works)
    assert [(each.request_id, each.channel, each.body.decode()) for each in settled] == [
        (request_id, channel, request_id) for request_id, channel in asked_for
    ]
    assert await database.write(mailboxes.waiting) == []
    unpublished = await database.write(outbox.unpublished)
    assert [(each.id, each.request_id) for each in unpublished] == [
        (each.id, each.request_id) for each in settled
    ]
    found = await database.write(_contents)
    assert found == [f"{request_id}{mark}" for request_id, _ in asked_for for mark in "?!"]
    assert [each.upto for each in settled] == [2 * place + 2 for place in range(number)]
    assert await database.write(mailbox_commands.chain_holds)


async def test_few_statements_are_enough_for_many_turns(database: Database) -> None:
    asked_for = requests(MANY)
    for _ in range(2):  # the second time the channels are cached
        statements = traced_soon(database)
        ids = await accepted(database, asked_for)
        turns = zip(ids, asked_for, strict=True)
        await grouped(database, [settle(row_id, *each) for row_id, each in turns])
        asked_for = [(f"again {request_id}", channel) for request_id, channel in asked_for]
    assert len(statements) < MANY / 4


async def test_a_request_sent_twice_at_once_waits_once_and_both_are_answered(
    database: Database,
) -> None:
    found = await grouped(
        database,
        [put("r1", replies=("a",)), put("r2"), put("r1", replies=("a", "b")), put("r1", "#other")],
    )
    assert [type(each) for each in found] == [Accepted, Accepted, AlreadyWaiting, Accepted]
    waiting = await database.write(mailboxes.waiting)
    assert [(row.id, row.request_id, row.replies) for row in waiting] == [
        (found[0].id, "r1", ("a", "b")),
        (found[1].id, "r2", ()),
        (found[3].id, "r1", ()),
    ]


async def test_among_new_commands_waiting_and_answered_ones_are_recognized(
    database: Database,
) -> None:
    waits, answered = await accepted(database, [("waits", "#lobby"), ("answered", "#lobby")])
    (settled,) = await grouped(database, [settle(answered, "answered")])
    names = ["n1", "waits", "n2", "answered", "n3"]
    found = await grouped(database, [put(name, replies=("late",)) for name in names])
    assert found[1] == AlreadyWaiting()
    assert found[3] == Settled(settled.id, "#lobby", "answered", "response", b"answered", ("late",))
    new = {found[0].id: "n1", found[2].id: "n2", found[4].id: "n3"}
    waiting = await database.write(mailboxes.waiting)
    assert {row.id: row.request_id for row in waiting} == {waits: "waits"} | new
    assert waiting[0].replies == ("late",)


async def test_a_request_sent_again_while_it_is_settled_is_answered(database: Database) -> None:
    for first_settled in (True, False):
        name = f"settled first: {first_settled}"
        (row_id,) = await accepted(database, [(name, "#lobby")])
        works: list[Writable[Any]] = [settle(row_id, name), put(name, replies=("late",))]
        if not first_settled:
            works.reverse()
        settled, again = await grouped(database, works)
        if not first_settled:
            settled, again = again, settled
        assert "late" in (again if isinstance(again, Settled) else settled).replies
        assert await database.write(mailboxes.waiting) == []


async def test_settled_twice_at_once_the_second_result_is_void(database: Database) -> None:
    first, second = await accepted(database, [("r1", "#a"), ("r2", "#a")])
    works = [settle(first, "r1", "#a"), settle(first, "r1", "#a"), settle(second, "r2", "#a")]
    settled = await grouped(database, [*works, settle(second, "r2", "#nowhere")])
    assert [each and each.request_id for each in settled] == ["r1", None, "r2", None]
    assert await database.write(_contents) == ["r1?", "r1!", "r2?", "r2!"]


def fails(connection: sqlite3.Connection) -> None:
    raise TypeError("a write with a fault of its own")


FAULTS: list[Writable[Any]] = [
    put("fault")._replace(username=None),  # type: ignore[arg-type]
    put("fault")._replace(request_id="\udc80"),
    put("fault")._replace(body=object()),  # type: ignore[arg-type]
    fails,
    settle(1, "r0", "#0")._replace(rows=(Row("answer", b"r0"),)),  # type: ignore[arg-type]
    settle(1, "r0", "#0")._replace(kind=None),  # type: ignore[arg-type]
    settle(1, "r0", "#0")._replace(body="a text"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
async def test_a_command_with_a_fault_fails_alone(database: Database, fault: Writable[Any]) -> None:
    asked_for = requests(9)
    ids = await accepted(database, asked_for)
    turns = [settle(row_id, *each) for row_id, each in zip(ids, asked_for, strict=True)][1:]
    puts = [put(f"new {number}") for number in range(5)]
    found = await grouped(database, [*puts[:2], *turns[:3], fault, *puts[2:], *turns[3:]])
    assert isinstance(found.pop(5), Exception)
    assert [type(each) for each in found] == [
        *[Accepted] * 2,
        *[Settled] * 3,
        *[Accepted] * 3,
        *[Settled] * 5,
    ]
    waiting = await database.write(mailboxes.waiting)
    assert [row.request_id for row in waiting] == ["r0", *(f"new {number}" for number in range(5))]
    assert await database.write(mailbox_commands.chain_holds)
    assert database.failing is None


async def test_another_write_between_them_sees_the_writes_before_it_and_no_more(
    database: Database,
) -> None:
    works: list[Writable[Any]] = [put("r1"), put("r2"), mailboxes.waiting, put("r3")]
    works.append(mailboxes.waiting)
    *_, before, _, after = await grouped(database, works)
    assert [row.request_id for row in before] == ["r1", "r2"]
    assert [row.request_id for row in after] == ["r1", "r2", "r3"]


async def test_attempts_and_publications_are_noted_among_them(database: Database) -> None:
    first, second = await accepted(database, [("r1", "#a"), ("r2", "#b")])
    works: list[Writable[Any]] = [
        Attempt(second),
        settle(first, "r1", "#a"),
        put("r3"),
        Attempt(second),
    ]
    once, settled, new, twice = await grouped(database, works)
    assert (once, twice, new) == (1, 2, Accepted(second + 1))
    marks = [MarkPublished([each], each) for each in (99, 1)]
    assert await grouped(database, marks) == [None, None]
    assert settled.id == 1
    assert await database.write(_published_ms) == [1]


def _contents(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT content FROM history ORDER BY id")]


def _published_ms(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT published_ms FROM outbox")]


@pytest.mark.parametrize("request_id", ["a\0b", 'q"uo\\te', "\u2028 \x1f é 😀", "null", "[]"])
async def test_a_request_id_of_any_characters_is_settled_under_its_own_name(
    database: Database, request_id: str
) -> None:
    replies = ("_INBOX.1", 'with "quotes"')
    waiting = await database.write(put(request_id, replies=replies))
    assert isinstance(waiting, Accepted)
    settled = await database.write(settle(waiting.id, request_id))
    assert settled is not None
    assert (settled.request_id, settled.replies) == (request_id, replies)
    assert await database.write(put(request_id)) == settled._replace(replies=(), upto=0)
