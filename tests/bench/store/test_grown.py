"""The large databases of the benchmark are what the engine itself would write."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from engine.actors.conversation_cache import ConversationCache
from storage import snapshots, verification
from storage.queries.reader import open_reader
from storage.writer.database import Database
from tests.bench.store import grown, texts
from tests.bench.store.grown import WINDOW, Size, channel

SIZE = Size(channels=30, exchanges=7)


async def test_every_row_of_a_grown_history_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "grown.db"
    await grown.grow(path, SIZE)
    with closing(open_reader(path)) as connection:
        assert verification.verify(connection).rows == SIZE.rows


async def test_a_grown_channel_wakes_from_its_snapshot_as_from_its_history(tmp_path: Path) -> None:
    path = tmp_path / "grown.db"
    await grown.grow(path, SIZE)
    database = Database(path)
    await database.open()
    memory = ConversationCache(channel(11), database)
    from_snapshot = await memory.conversation(WINDOW)
    assert from_snapshot.messages == WINDOW
    found = await database.write(partial(snapshots.load, name=channel(11), max_messages=WINDOW))
    assert found.body is not None
    assert found.rows == []  # nothing is newer than the snapshot
    without = partial(
        snapshots.save, name=channel(11), upto=found.upto, ts_ms=0, body=b"not a snapshot"
    )
    await database.write(without)
    memory.forget()
    assert await memory.conversation(WINDOW) == from_snapshot
    await database.close()


def test_all_texts_differ_and_have_the_length_that_the_goals_name() -> None:
    all_texts = [texts.text(number) for number in range(20_000)]
    assert {len(each.encode()) for each in all_texts} == {texts.BYTES}
    assert len(set(all_texts)) == len(all_texts)
