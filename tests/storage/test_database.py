import asyncio
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.writer.database import GROUP_LIMIT, Database, Write
from tests.support.channel_writes import add, held, names, seen_by_others, traced_soon


def against_the_schema(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nowhere VALUES (1)")


def against_a_constraint(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO channel (id, name, created_ms) VALUES (1, 'a', 0)")
    connection.execute("INSERT INTO channel (id, name, created_ms) VALUES (1, 'b', 0)")


def against_a_foreign_key(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO snapshot VALUES (99, 0, 0, x'00')")


def against_python(connection: sqlite3.Connection) -> None:
    add("half of a write")(connection)
    raise KeyError("a defect of ours")


def with_a_cursor_left_open(connection: sqlite3.Connection) -> None:
    add("half of a write")(connection)
    cursor = connection.execute("SELECT * FROM sqlite_master")
    cursor.fetchone()
    raise KeyError("a defect of ours")


FAULTS = [
    (against_the_schema, sqlite3.OperationalError),
    (against_a_constraint, sqlite3.IntegrityError),
    (against_a_foreign_key, sqlite3.IntegrityError),
    (against_python, KeyError),
    (with_a_cursor_left_open, KeyError),
]


async def test_writes_requested_together_go_into_one_commit(database: Database) -> None:
    async with held(database):
        statements = traced_soon(database)
        writes = [database.write_soon(add(f"c{number}")) for number in range(100)]
    await asyncio.gather(*writes)
    assert Counter(statements)["COMMIT"] == 1
    assert len(await database.write(names)) == 100


async def test_a_group_has_a_limit_so_that_no_caller_waits_for_an_endless_one(
    database: Database,
) -> None:
    async with held(database):
        statements = traced_soon(database)
        writes = [database.write_soon(add(f"c{number}")) for number in range(2 * GROUP_LIMIT)]
    await asyncio.gather(*writes)
    assert Counter(statements)["COMMIT"] == 3


async def test_writes_that_wait_for_each_other_are_committed_one_by_one(
    database: Database,
) -> None:
    statements = traced_soon(database)
    await database.write(names)
    statements.clear()
    for number in range(5):
        await database.write(add(f"c{number}"))
    assert Counter(statements)["COMMIT"] == 5


async def test_a_write_returns_the_result_of_its_work(database: Database) -> None:
    assert await database.write(add("#lobby")) == "#lobby"
    assert await database.write(names) == ["#lobby"]


async def test_an_awaited_write_is_seen_by_others(on_file: Database, path: Path) -> None:
    for number in range(5):
        await on_file.write(add(f"c{number}"))
        assert seen_by_others(path)[-1] == f"c{number}"


async def test_nothing_of_a_group_is_seen_before_its_commit(on_file: Database, path: Path) -> None:
    def look(connection: sqlite3.Connection) -> list[str]:
        return seen_by_others(path)

    async with held(on_file):
        on_file.write_soon(add("a"))
        seen = on_file.write_soon(look)
        last = on_file.write_soon(add("b"))
    assert await seen == []
    await last
    assert seen_by_others(path) == ["a", "b"]


async def test_writes_take_effect_in_the_order_of_the_calls(database: Database) -> None:
    wanted = [f"c{number}" for number in range(3 * GROUP_LIMIT)]
    writes = []
    for number, name in enumerate(wanted):
        writes.append(database.write_soon(add(name)))
        if number % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*writes)
    assert await database.write(names) == wanted


@pytest.mark.parametrize("position", [0, 2, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_a_write_with_a_fault_fails_alone(
    database: Database, fault: Write[None], error: type[Exception], position: int
) -> None:
    wanted = ["a", "b", "c", "d"]
    works: list[Write[object]] = [add(name) for name in wanted]
    works.insert(position, fault)
    async with held(database):
        writes = [database.write_soon(work) for work in works]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(results.pop(position), error)
    assert results == wanted
    assert await database.write(names) == wanted
    assert database.failing is None


async def test_any_number_of_faults_harms_no_other_write(database: Database) -> None:
    faults = [fault for fault, _ in FAULTS]
    works: list[Write[object]] = [*faults, add("a"), *faults, *faults, add("b"), *faults]
    async with held(database):
        writes = [database.write_soon(work) for work in works]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [result for result in results if isinstance(result, str)] == ["a", "b"]
    assert await database.write(names) == ["a", "b"]


async def test_a_group_of_nothing_but_faults_leaves_the_writer_at_work(
    database: Database,
) -> None:
    async with held(database):
        writes = [database.write_soon(fault) for fault, _ in FAULTS]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [error for _, error in FAULTS]
    assert await database.write(add("a")) == "a"


async def test_a_cancelled_waiter_harms_neither_its_write_nor_its_neighbours(
    database: Database,
) -> None:
    async with held(database):
        tasks = [asyncio.create_task(database.write(add(name))) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
    assert [await tasks[0], await tasks[2]] == ["a", "c"]
    assert tasks[1].cancelled()
    assert await database.write(names) == ["a", "b", "c"]


async def test_a_write_at_leisure_goes_with_the_next_write(database: Database) -> None:
    async with held(database):
        statements = traced_soon(database)
        at_leisure = database.write_at_leisure(add("at leisure"))
        soon = database.write_soon(add("soon"))
    assert (await at_leisure, await soon) == ("at leisure", "soon")
    assert Counter(statements)["COMMIT"] == 1
    assert await database.write(names) == ["at leisure", "soon"]


async def test_a_write_at_leisure_needs_no_other_write(database: Database) -> None:
    assert await database.write_at_leisure(add("alone")) == "alone"


async def test_closing_commits_writes_at_leisure(path: Path) -> None:
    database = Database(path)
    await database.open()
    written = database.write_at_leisure(add("at leisure"))
    await database.close()
    assert await written == "at leisure"
    assert seen_by_others(path) == ["at leisure"]


async def test_closing_commits_waiting_writes(path: Path) -> None:
    database = Database(path)
    await database.open()
    writes = [database.write_soon(add(f"c{number}")) for number in range(2000)]
    await database.close()
    assert all(write.done() for write in writes)
    assert [await write for write in writes] == seen_by_others(path)


async def test_closing_twice_is_closing_once(database: Database) -> None:
    await database.close()
    await database.close()


async def test_two_may_close_at_once(database: Database) -> None:
    await asyncio.gather(database.close(), database.close())


async def test_a_database_that_was_never_open_can_be_closed(path: Path) -> None:
    await Database(path).close()


async def test_a_write_after_the_end_is_refused(database: Database) -> None:
    await database.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        await database.write(names)


async def test_a_write_while_closing_is_refused_and_does_not_wait_forever(
    database: Database,
) -> None:
    async with held(database):
        waiting = database.write_soon(add("a"))
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable, match="closed"):
            database.write_soon(add("b"))
    await closing
    assert await waiting == "a"


async def test_a_closed_file_can_be_opened_again(path: Path) -> None:
    database = Database(path)
    for number in range(3):
        await database.open()
        await database.write(add(f"c{number}"))
        await database.close()
    assert seen_by_others(path) == ["c0", "c1", "c2"]


async def test_a_database_in_memory_ends_with_its_closing() -> None:
    database = Database(None)
    await database.open()
    await database.write(add("a"))
    await database.close()
    await database.open()
    assert await database.write(names) == []
    await database.close()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
async def test_durability_is_how_hard_a_commit_tries(
    path: Path, durability: str, level: int
) -> None:
    database = Database(path, durability)  # type: ignore[arg-type]
    await database.open()
    pragma = partial(_pragma, name="synchronous")
    assert await database.write(pragma) == level
    assert await database.write(partial(_pragma, name="journal_mode")) == "wal"
    await database.close()


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
