"""Tests that accepted = answered + failed + cancelled + waiting holds at every scrape."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from engine import LLMError, LLMService
from engine.config.loading import parse
from providers import ScriptedProvider
from providers.base import Message, Options
from providers.errors import BadAnswer
from storage.errors import StorageUnavailable
from storage.writer.database import Database, Write
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.full_disk import fill, make_room
from tests.support.patience import WAIT_S, until
from tests.support.scraper import Scrape, scrape, scraped
from tests.support.service_process import configuration, running

CHANNELS = [f"#c{number}" for number in range(6)]
LIMITS = {"channels": {"mailbox_limit": 3, "resident_limit": 3, "passivate_after_s": 0.05}}


async def fickle(messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
    """Fail, wait for some steps of the loop, or answer at once, by the message's number."""
    number = int(messages[-1].content.split()[-1])
    for _step in range(number % 7 * 3):
        await asyncio.sleep(0)
    if number % 5 == 0:
        raise BadAnswer("no answer this time")
    yield f"answer {number}"


async def watched(service: LLMService, looks: list[Scrape]) -> None:
    while True:
        looks.append(Scrape((await service.metrics()).decode()))
        looks[-1].check_conservation()


async def surely(database: Database, work: Write[None]) -> None:
    """Write, and try again if other writes in the same commit make it fail."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(StorageUnavailable):
                return await database.write(work)
            await asyncio.sleep(0)


async def act(service: LLMService, rng: random.Random, number: int, padding: str = "") -> str:
    """Make one call of a random kind; return its error's code, "" for an answer."""
    channel, request_id = rng.choice(CHANNELS), f"r{rng.randrange(number // 2, number + 1)}"
    kind = rng.choice(("chat", "chat", "chat", "complete", "stop", "reset", "persona", "wrong"))
    try:
        match kind:
            case "chat":
                await service.chat(f"{padding} {number}", channel, request_id=request_id)
            case "complete":
                await service.complete(f"{padding} {number}", channel)
            case "stop":
                await service.stop(channel)
            case "reset":
                await service.reset(channel)
            case "persona":
                await service.set_persona(rng.choice(("concise", "nobody")), channel)
            case "wrong":
                await service.chat("", channel)
    except LLMError as exc:
        return exc.code
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_nothing_accepted_is_lost_at_any_scrape_whatever_happens(
    tmp_path: Path, seed: int
) -> None:
    rng, looks, codes = random.Random(seed), list[Scrape](), list[str]()
    settings = parse(LIMITS, tmp_path)
    provider = ScriptedProvider({"max_retries": 0}, script=fickle)
    async with LLMService(provider, settings=settings, database=tmp_path / "db") as service:
        database: Database = service.inspect().engine.database
        watching = asyncio.create_task(watched(service, looks))
        for burst in range(6):
            full = burst == 3
            if full:
                await database.write(fill)
                with pytest.raises(LLMError) as unstored:
                    await service.chat("x" * 60_000 + " 1", "#early")
                assert unstored.value.code == "busy"
            calls = [
                act(service, rng, 100 * burst + number, "x" * 100_000 if full else "hello")
                for number in range(100)
            ]
            waiting = asyncio.gather(*calls)
            if full:
                # A turn being settled waits until there is room; new messages are refused.
                await until(lambda: looks[-1].total("commit_failures_total") > 0)
                with pytest.raises(LLMError) as refused:
                    await service.chat("x" * 60_000 + " 1", "#late")
                assert refused.value.code == "busy"
                await surely(database, make_room)
            codes += await waiting
        watching.cancel()
        await asyncio.wait({watching})
        assert watching.cancelled(), watching.exception()
        last = Scrape((await service.metrics()).decode())
    last.check_conservation()
    assert last.total("commands_waiting") == 0
    assert len(looks) > 20
    for result in ("accepted", "at_once", "busy", "duplicate", "invalid", "unstored"):
        assert last.total("commands_total", result=result), result
    assert any(look.total("commands_waiting") for look in looks)
    assert last.total("turns_total", outcome="answered")
    assert last.total("turns_total", outcome="failed", code="provider_error")
    assert {"", "busy", "provider_error", "unknown_persona", "invalid_request"} <= set(codes)
    assert last.total("commit_failures_total")


async def test_a_stopped_turn_counts_as_cancelled(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless(_: Sequence[Message], __: Options) -> AsyncIterator[str]:
        begun.set()
        await asyncio.Event().wait()
        yield ""

    provider = ScriptedProvider(script=endless)
    async with LLMService(provider, database=tmp_path / "db") as service:
        asking = asyncio.create_task(service.chat("Hello"))
        await begun.wait()
        during = Scrape((await service.metrics()).decode())
        assert during.total("commands_waiting") == during.total("mailbox_rows") == 1
        await service.stop()
        with pytest.raises(LLMError):
            await asking
        after = Scrape((await service.metrics()).decode())
    after.check_conservation()
    assert after.values("turns_total", outcome="cancelled") == [1]
    assert after.total("commands_waiting") == 0
    assert after.values("provider_calls_total", result="cut") == [1]


async def test_a_crash_is_counted_once_and_its_command_once(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("Hello")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "CREATE TRIGGER broken BEFORE DELETE ON mailbox WHEN old.attempts = 1"
                " BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END"
            )
        asking = asyncio.create_task(service.chat("Hello again"))
        for _ in range(1000):
            during = Scrape((await service.metrics()).decode())
            during.check_conservation()
            if during.total("actor_restarts_total"):
                break
        assert during.total("commands_waiting") == 1
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TRIGGER broken")
        await asking
        after = Scrape((await service.metrics()).decode())
    after.check_conservation()
    assert after.total("turns_total", outcome="answered") == 2


@pytest.mark.process
async def test_commands_left_by_a_killed_process_are_accepted_in_the_next(
    tmp_path: Path, llm: LLMServer
) -> None:
    hold = asyncio.Event()
    llm.plan(*[Behaviour(hold=hold)] * 4)
    config = configuration(llm, http={"port": 0})
    async with running(tmp_path, config) as service:
        for number in range(6):
            await service.bot.chat("Hello", f"#c{number % 2}", request_id=f"r{number}")
        url = address(tmp_path)
        seen = await scraped(
            url,
            lambda seen: (
                seen.total("commands_waiting") == 6
                # All this may happen within one millisecond of the clock.
                and seen.total("mailbox_oldest_age_seconds") > 0
            ),
        )
        assert seen.total("mailbox_depth") == 4
        assert seen.total("mailbox_depth_max") == 2
        assert seen.total("channels_busy") == 2
        await service.kill()
    async with running(tmp_path, config) as service:
        url = address(tmp_path)
        seen = await scrape(url)
        seen.check_conservation()
        assert seen.total("commands_recovered_total") == 6
        assert seen.total("commands_waiting") == 6
        await service.bot.chat("Hello", "#c0", request_id="r0")
        hold.set()
        seen = await scraped(url, lambda seen: seen.total("turns_total") == 6)
        assert seen.total("commands_total", result="accepted") == 6
        assert seen.total("commands_total", result="duplicate") == 1
        # The running request was sent again, and that is no third attempt.
        assert seen.total("turns_total", outcome="answered") == 6
        assert seen.total("turn_wait_seconds_count") == 6


def address(folder: Path) -> str:
    return (folder / "data" / "rosey-llm.db.http").read_text().strip()
