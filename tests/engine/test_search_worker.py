"""The audit page's search worker updates its index by itself, one step at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.interfaces.audit import search_worker
from engine.interfaces.audit.search_worker import SearchWorker
from storage import history
from storage.history import Row
from storage.migrations import migrate
from storage.queries.selection import Selection
from tests.support.patience import WAIT_S


async def test_a_search_answers_at_once_and_the_rest_is_indexed_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rosey-llm.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        migrate(database, path.name)
        database.execute("INSERT INTO channel VALUES (1, '#lobby', 0)")
        for number in range(12):
            history.append(
                database,
                [history.TurnRows(1, 0, [Row("message", str(number), "alice", "Good soil")])],
            )
    monkeypatch.setattr(search_worker, "BATCH_ROWS", 2)
    monkeypatch.setattr(search_worker, "FEEDING_S", -1.0)
    searching = SearchWorker(path)
    first = await searching.find('"soil"', Selection(), 50, best=False)
    assert (len(first.hits), first.behind) == (2, 10)
    async with asyncio.timeout(WAIT_S):
        while (found := await searching.find('"soil"', Selection(), 50, best=False)).behind:
            pass
    assert [hit.entry.request_id for hit in found.hits] == [str(n) for n in reversed(range(12))]
