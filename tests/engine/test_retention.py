"""Retention: expired messages are erased in the background."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest

from engine import LLMService
from engine.clock import DAY_MS
from engine.config.loading import parse
from engine.config.settings import Settings, StorageSettings
from engine.operations import retention
from engine.operations.retention import Retention
from providers import ScriptedProvider
from storage import erasure, search_index, verification
from storage.erasure import BATCH, Scope
from storage.erasure_events import Erasure
from storage.queries.reader import open_reader
from tests.support.archive import Archive
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.secrets_database import files_containing, leave_deleted_text
from tests.support.service_harness import House

RETENTION = Erasure("retention")

CHANNELS = ("#kept", "#week", "#others")
AGES = (3, 10, 100)


def settings(days: int = 0, **by_channel: int) -> Settings:
    table = {"retention_days": days, "retention_days_by_channel": by_channel}
    return parse({"storage": table, "default_provider": "scripted"}, Path("/nowhere"))


def write_messages(path: Path, times: int = 1) -> None:
    """Write messages of each age to each channel; their text says which."""
    now_ms = time.time_ns() // 1_000_000
    path.parent.mkdir(exist_ok=True)
    with closing(Archive(path)) as archive:
        archive.connection.execute("BEGIN")
        for days in reversed(AGES):
            for channel in CHANNELS:
                for _ in range(times):
                    text = f"{channel[1:]}x{days:03}"  # none begins like another
                    archive.say(text, "", channel=channel, ts_ms=now_ms - days * DAY_MS)
        archive.connection.execute("COMMIT")
        leave_deleted_text(archive.connection, "weekx100")
    with search_index.open_index(path) as index:
        index.feed(10**6)


def left(path: Path) -> set[str]:
    with closing(open_reader(path)) as connection:
        verification.verify(connection)
        rows = connection.execute(
            "SELECT DISTINCT content FROM history WHERE content <> '' AND kind <> 'erased'"
        )
        return {row[0] for row in rows}


async def until_clean(path: Path) -> None:
    """Wait until rows were erased and the files cleaned."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with closing(open_reader(path)) as connection:
                erased = connection.execute("SELECT EXISTS (SELECT 1 FROM history WHERE erased_ms)")
                if erased.fetchone()[0] and not erasure.remains(connection):
                    return
            await asyncio.sleep(0.05)


def test_without_days_everything_is_kept() -> None:
    assert retention.expired(settings().storage, 0) == []
    assert retention.expired(settings(0, **{"#a": 0}).storage, 0) == []


def test_a_channel_with_its_own_days_has_its_own_scope() -> None:
    found = retention.expired(settings(30, **{"#week": 7, "#kept": 0}).storage, 100 * DAY_MS)
    assert found == [
        (Scope(channel="#week", before_ms=93 * DAY_MS), 7),
        (Scope(before_ms=70 * DAY_MS, but=("#week", "#kept")), 30),
    ]


@pytest.mark.process
async def test_a_service_erases_expired_messages_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "data" / "chat.db"
    write_messages(path, times=BATCH)
    assert files_containing(path.parent, "weekx010")
    with closing(open_reader(path)) as connection:
        seal = verification.verify(connection).seal
    wanted = settings(30, **{"#week": 7, "#kept": 0})
    async with LLMService(ScriptedProvider({}), settings=wanted, database=path) as service:
        await service.chat("Hello", "#others")
        await until_clean(path)
    assert left(path) == {
        "keptx003", "keptx010", "keptx100", "weekx003", "othersx003", "othersx010",
        "Hello", "You said: User: Hello",
    }  # fmt: skip
    assert files_containing(path.parent, "weekx010", "weekx100", "othersx100") == []
    with closing(open_reader(path)) as connection:
        assert verification.verify(connection, seal).erased == 3 * 2 * BATCH


async def test_a_reload_applies_new_days(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "POLL_S", 0.05)
    path = house.folder / "data" / "rosey-llm.db"
    write_messages(path)
    await house.open()
    await house.bot.ask("Hello", "#others")
    assert len(left(path)) == 11
    house.config["storage"] = {"retention_days": 50}
    changes = await house.reload()
    assert changes.settings == {"storage.retention_days": 50}
    await until_clean(path)
    assert not [text for text in left(path) if text.endswith("x100")]
    assert "weekx010" in left(path)


@pytest.mark.process
async def test_a_sweep_that_a_crash_cut_off_is_finished(tmp_path: Path) -> None:
    """Rows were erased, and the process ended before the files were cleaned."""
    path = tmp_path / "chat.db"
    write_messages(path)
    with closing(Archive(path)) as archive:
        scope = Scope(channel="#week")
        rows = erasure.find(archive.connection, scope, 0, 10**9).rows[:3]
        with search_index.open_index(path) as index:
            index.forget(rows)
        row_ids, now_ms = [row[0] for row in rows], time.time_ns() // 1_000_000
        erasure.blank(archive.connection, row_ids, now_ms, lambda *_: b"{}", RETENTION)
    wanted = settings(0, **{"#week": 1})
    async with LLMService(ScriptedProvider({}), settings=wanted, database=path):
        await until_clean(path)
    assert files_containing(tmp_path, "weekx") == []
    with search_index.open_index(path) as index:
        while index.feed(1000):
            pass
        hits = index.connection.execute("SELECT rowid FROM words WHERE words MATCH 'keptx010'")
        assert len(hits.fetchall()) == 1


async def test_a_request_during_a_sweep_is_carried_out_and_the_sweep_continues(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "POLL_S", 0.05)
    path = house.folder / "data" / "rosey-llm.db"
    write_messages(path, times=4 * BATCH)
    house.config["storage"] = {"retention_days": 5}
    await house.open()
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "history", "erase", "--channel", "#kept", "--yes", "--no-compact"),
        *("--database", str(path)),
    )
    async with asyncio.timeout(WAIT_S):
        assert await process.wait() == 0
    await until_clean(path)
    async with asyncio.timeout(WAIT_S):
        while left(path) != {"weekx003", "othersx003"}:  # noqa: ASYNC110 - another connection writes
            await asyncio.sleep(0.05)


async def test_new_messages_outlive_every_sweep(tmp_path: Path) -> None:
    wanted = settings(1)
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider({}), settings=wanted, database=path) as service:
        await service.chat("Hello", "#a")
        engine = service.inspect().engine
        one_day = StorageSettings(retention_days=1)
        await Retention(engine.database, engine.eraser, lambda: one_day).sweep()
        await service.chat("Hello again", "#a")
    assert len(left(path)) == 4
