import sqlite3
from functools import partial
from pathlib import Path

from storage import suspensions
from storage.writer.database import Database
from tests.support.channel_writes import add


def test_a_suspended_channel_is_known_until_it_is_lifted(connection: sqlite3.Connection) -> None:
    for name in ("#a", "#b"):
        add(name)(connection)
        suspensions.save(connection, name, 1000)
    suspensions.lift(connection, "#a")
    assert suspensions.load(connection) == {"#b": 1000}


def test_suspended_again_the_newest_time_holds(connection: sqlite3.Connection) -> None:
    add("#a")(connection)
    suspensions.save(connection, "#a", 1000)
    suspensions.save(connection, "#a", 500)
    assert suspensions.load(connection) == {"#a": 500}


def test_nothing_is_stored_for_an_unknown_channel(connection: sqlite3.Connection) -> None:
    suspensions.save(connection, "#nowhere", 1000)
    suspensions.lift(connection, "#nowhere")
    assert suspensions.load(connection) == {}


async def test_a_suspension_survives_a_restart(path: Path) -> None:
    database = Database(path)
    await database.open()
    await database.write(add("#a"))
    await database.write(partial(suspensions.save, name="#a", until_ms=1000))
    await database.close()
    await database.open()
    assert await database.write(suspensions.load) == {"#a": 1000}
    await database.close()
