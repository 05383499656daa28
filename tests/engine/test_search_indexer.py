from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path

import pytest

from engine.operations.search_indexer import SearchIndexer
from storage import search_index
from storage.history import Row
from storage.search_index import open_index, path_of
from storage.writer.database import Database
from tests.support import command_writes
from tests.support.patience import until
from tests.support.service_harness import House


async def say(database: Database, number: int) -> None:
    rows = (
        Row("message", f"r{number}", "alice", "tea"),
        Row("answer", f"r{number}", "alice", "Yes"),
    )
    write = partial(
        command_writes.settle_at_once,
        channel="#lobby",
        request_id=f"r{number}",
        rows=rows,
        kind="response",
        body=b"{}",
        replies=(),
        now_ms=0,
    )
    await database.write(write)


def behind(path: Path) -> int:
    if not path_of(path).is_file():
        return -1
    with open_index(path) as index:
        return index.behind


async def test_the_indexer_indexes_new_rows_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "rosey-llm.db"
    database = Database(path)
    await database.open()
    indexer = SearchIndexer(path, poll_s=0.01)
    indexer.start()
    try:
        for number in range(150):
            await say(database, number)
        await until(lambda: behind(path) == 0)
        search_index.remove(path)
        await say(database, 150)
        await until(lambda: behind(path) == 0)
    finally:
        await indexer.aclose()
        await indexer.aclose()
        await database.close()
    with open_index(path) as index:
        found = index.connection.execute("SELECT count(*) FROM words WHERE words MATCH 'tea'")
        assert found.fetchone()[0] == 151


async def test_a_failing_indexer_is_logged_once_and_disturbs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rosey-llm.db"
    database = Database(path)
    await database.open()
    path_of(path).mkdir()
    indexer = SearchIndexer(path, poll_s=0.01)
    with caplog.at_level(logging.WARNING, "rosey_llm.indexer"):
        indexer.start()
        await until(lambda: bool(caplog.records))
        await say(database, 1)
        await indexer.aclose()
    assert len(caplog.records) == 1
    assert "search index" in caplog.text
    await database.close()


def indexers() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "rosey-llm-indexer"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_service_has_an_indexer_if_configured(house: House, wanted: bool) -> None:
    house.config["storage"] = {"search_index": wanted}
    await house.open()
    assert len(indexers()) == wanted
    await house.close()
    assert indexers() == []
