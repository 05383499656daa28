"""A process that opens a large database as the engine does, and runs turns on it.

`python -m tests.bench.store.keeper DATABASE CHANNELS [checkpoints-by-sqlite]` writes `{}` when it
is ready. Then it answers these questions, each one line of JSON:

paced  turns at a fixed `rate`, GROUP at the same time: how long each write waited for its commit
turns  `count` turns, one after the other: how long each took until its outcome was on disk
wake   load the conversations of the channels `numbers`, one after the other: how long each took
"""

from __future__ import annotations

import asyncio
import random
import sys
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

MADE_BY = ("ollama", "llama3.2", "stop", 600, 50, 1200)
GROUP = 8
BY_SQLITE = "checkpoints-by-sqlite"
FINISH_LIMIT_S = 30.0


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

    async def _group(self, waits_us: list[int]) -> None:
        group = [self._turn() for _ in range(GROUP)]
        accepted = await self._timed([turn.accept() for turn in group], waits_us)
        settle = [turn.settle(_row_id(each)) for turn, each in zip(group, accepted, strict=True)]
        settled = await self._timed(settle, waits_us)
        await self._database.write(_published(settled))

    async def _timed(self, writes: list[Any], waits_us: list[int]) -> list[Any]:
        began = perf_counter()
        done = [self._database.write_soon(write) for write in writes]
        for each in done:
            each.add_done_callback(lambda _: waits_us.append(_us_since(began)))
        return await asyncio.gather(*done)

    async def turns(self, *, count: int) -> dict[str, Any]:
        taken_us = []
        for _ in range(count):
            turn, began = self._turn(), perf_counter()
            accepted = await self._database.write(turn.accept())
            settled = await self._database.write(turn.settle(_row_id(accepted)))
            taken_us.append(_us_since(began))
            assert isinstance(settled, Settled)
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

    def _turn(self) -> Turn:
        number = self._chance.randrange(self._channels)
        return Turn(grown.channel(number), grown.user(number), next(self._numbers))


def _row_id(accepted: object) -> int:
    assert isinstance(accepted, Accepted)
    return accepted.id


def _published(settled: list[Settled]) -> MarkPublished:
    return MarkPublished([each.id for each in settled], now_ms())


def _us_since(began: float) -> int:
    return round((perf_counter() - began) * 1e6)


class Turn:
    """A turn as the engine writes it: accept the command, settle its outcome, mark it published."""

    def __init__(self, channel: str, username: str, number: int) -> None:
        self.channel = channel
        self.username = username
        self.request_id = f"bench-{number}"
        self.message, self.answer = grown.text(number), grown.text(number + 1)

    def accept(self) -> Accept:
        body = b'{"command":"chat","text":"%b"}' % self.message.encode()
        return Accept(self.channel, self.request_id, self.username, body, (), now_ms(), 1)

    def settle(self, row_id: int) -> Settle:
        now, body = now_ms(), self._outcome().encode()
        rows, salts = self._rows(now), hash_chain.new_salts(2)
        return Settle(row_id, self.channel, self.request_id, rows, "response", body, now, salts)

    def _rows(self, now: int) -> tuple[Row, Row]:
        details = {
            "started_ms": now,
            "persona_version": "3f1c5a09b2d7",
            "exchanges": 4,
            "prompt_digest": "5feceb66" * 8,
            "waited_ms": 0,
            "attempts": 1,
            "temperature": 0.7,
        }
        message = Row("message", self.request_id, self.username, self.message, "default")
        answer = Row(
            "answer",
            self.request_id,
            self.username,
            self.answer,
            "default",
            *MADE_BY,
            details=details,
        )
        return message, answer

    def _outcome(self) -> Answer:
        return Answer(
            channel_id=self.channel,
            request_id=self.request_id,
            action="chat",
            content=self.answer,
            username=self.username,
            persona="default",
            provider="ollama",
            model="llama3.2",
            finish_reason="stop",
            usage=Usage(600, 50),
            latency_ms=1200,
        )


async def main(path: str, channels: str, *options: str) -> None:
    database = Database(Path(path), own_checkpoints=BY_SQLITE not in options)
    await database.open()
    keeper = Keeper(database, int(channels))
    children.freeze_garbage()
    await children.answer_questions(keeper)
    await database.close()


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
