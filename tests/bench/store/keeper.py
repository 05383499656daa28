"""A process that opens a large database as the engine does, and runs turns on it.

`python -m tests.bench.store.keeper DATABASE CHANNELS [checkpoints-by-sqlite]` writes `{}` when it
is ready. Then it answers these questions, each one line of JSON:

paced  turns at a fixed `rate`, GROUP at the same time: how long each write waited for its commit
turn   a turn in each of the channels `numbers`, one after the other: how long until each outcome
       was on disk
wake   load the conversations of these channels, one after the other: how long each took
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from engine.actors.conversation_cache import ConversationCache
from engine.clock import now_ms
from engine.commands.outcomes import Answer
from providers.base import Usage
from storage import hash_chain
from storage.commands import Accept, MarkPublished, Settle
from storage.history import Row
from storage.mailboxes import Accepted
from storage.outbox import Settled
from storage.writer.database import Database
from tests.bench import children
from tests.bench.store import grown

GROUP = 8
BY_SQLITE = "checkpoints-by-sqlite"
FINISH_LIMIT_S = 30.0
PROMPT_DIGEST = "5feceb66" * 8


class Keeper:
    """The answers to the questions: each method is named as in the question's `do`."""

    def __init__(self, database: Database, channels: int) -> None:
        assert database.path is not None
        self._database = database
        self._wal = database.path.with_name(f"{database.path.name}-wal")
        self._channels = channels
        self._chance = random.Random(7)
        self._numbers = count(2**30, 2)  # texts that the history does not have

    async def paced(self, *, rate: float, seconds: float) -> dict[str, Any]:
        """Run `rate` turns a second; a late turn does not delay the next ones."""
        waits_us: list[int] = []
        wal_bytes, ticks = 0, int(rate * seconds / GROUP)
        began = perf_counter()
        async with asyncio.timeout(seconds + FINISH_LIMIT_S), asyncio.TaskGroup() as tasks:
            for tick in range(ticks):
                await asyncio.sleep(max(0.0, began + tick * GROUP / rate - perf_counter()))
                tasks.create_task(self._group(waits_us))
                wal_bytes = max(wal_bytes, self._wal.stat().st_size)
        return {
            "turns_a_second": GROUP * ticks / (perf_counter() - began),
            "waits_us": waits_us,
            "wal_bytes": wal_bytes,
        }

    async def turn(self, *, numbers: list[int]) -> dict[str, Any]:
        taken_us = []
        for number in numbers:
            turn, began = self._turn(number), perf_counter()
            accepted = await self._database.write(turn.accept())
            settled = await self._database.write(turn.settle(accepted))
            taken_us.append(_us_since(began))
            self._database.write_soon(_published([settled]))
        return {"taken_us": taken_us}

    async def wake(self, *, numbers: list[int]) -> dict[str, Any]:
        taken_us = []
        for number in numbers:
            memory, began = ConversationCache(grown.channel(number), self._database), perf_counter()
            conversation = await memory.conversation(grown.WINDOW)
            taken_us.append(_us_since(began))
            assert conversation.messages == grown.WINDOW, conversation.messages
        return {"taken_us": taken_us}

    async def _group(self, waits_us: list[int]) -> None:
        group = [self._turn(self._chance.randrange(self._channels)) for _ in range(GROUP)]
        accepted = await self._timed([turn.accept() for turn in group], waits_us)
        settle = [turn.settle(each) for turn, each in zip(group, accepted, strict=True)]
        settled = await self._timed(settle, waits_us)
        await self._database.write(_published(settled))

    async def _timed(self, writes: Sequence[Any], waits_us: list[int]) -> list[Any]:
        began = perf_counter()
        done = [self._database.write_soon(write) for write in writes]
        for each in done:
            each.add_done_callback(lambda _: waits_us.append(_us_since(began)))
        return await asyncio.gather(*done)

    def _turn(self, number: int) -> Turn:
        return Turn(grown.channel(number), grown.user(number), next(self._numbers))


def _published(settled: Sequence[Settled | None]) -> MarkPublished:
    return MarkPublished([each.id for each in settled if each is not None], now_ms())


def _us_since(began: float) -> int:
    return round((perf_counter() - began) * 1e6)


class Turn:
    """A turn as the engine writes it: accept the command, then settle its outcome."""

    def __init__(self, channel: str, username: str, number: int) -> None:
        self._at = (channel, f"bench-{number}")
        self._username = username
        self._message, self._answer = grown.text(number), grown.text(number + 1)

    def accept(self) -> Accept:
        body = b'{"command":"chat","text":"%b"}' % self._message.encode()
        return Accept(*self._at, self._username, body, (), now_ms(), 1)

    def settle(self, accepted: object) -> Settle:
        assert isinstance(accepted, Accepted)
        (channel, request_id), now, name = self._at, now_ms(), self._username
        details = grown.details(now, exchanges=4, digest=PROMPT_DIGEST)
        made_by = ("ollama", "llama3.2", "stop", 600, 50, 1200, None, details)
        rows = (
            Row("message", request_id, name, self._message, "default"),
            Row("answer", request_id, name, self._answer, "default", *made_by),
        )
        outcome = Answer(
            channel_id=channel,
            request_id=request_id,
            action="chat",
            content=self._answer,
            username=name,
            persona="default",
            provider="ollama",
            model="llama3.2",
            finish_reason="stop",
            usage=Usage(600, 50),
            latency_ms=1200,
        )
        salts = hash_chain.new_salts(len(rows))
        return Settle(accepted.id, *self._at, rows, "response", outcome.encode(), now, salts)


async def main(path: str, channels: str, *options: str) -> None:
    database = Database(Path(path), own_checkpoints=BY_SQLITE not in options)
    await database.open()
    children.freeze_garbage()
    await children.answer_questions(Keeper(database, int(channels)))
    await database.close()


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
