"""Bots as the README wants them: a request without an outcome is sent again, with the same id."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.config.personas import BUILT_IN
from tests.chaos.llm import asked
from tests.chaos.witness import Key, Ledger, now_ms, patient

AGAIN_AFTER_S = 0.8
LONGEST_BURST = 4
SENDINGS_LIMIT = 2000
KINDS = {"chat": 62, "complete": 9, "reset": 8, "persona": 9, "personas": 3, "help": 3, "stop": 6}


@dataclass(slots=True)
class Sent:
    """A request. `burst` is (sender and burst, place in it): sent in this order, in one go."""

    key: Key
    kind: str
    subject: str
    body: bytes
    burst: tuple[str, int]
    username: str
    sent_ms: int = 0
    sendings: int = 0
    answered: bool = False


@dataclass
class Diary:
    """What all bots have sent."""

    sent: dict[Key, Sent] = field(default_factory=dict)
    given_up: list[Key] = field(default_factory=list)
    asked_again: int = 0


class Bot:
    """`live` until `stop`, then finish what is open; `give_up` ends that too."""

    def __init__(
        self, name: str, channels: list[str], ledger: Ledger, diary: Diary, rng: random.Random
    ) -> None:
        self._name = name
        self._channels = channels
        self._ledger = ledger
        self._diary = diary
        self._rng = rng
        self._numbers = count(1)
        self._bursts = count(1)
        self._open: dict[Key, Sent] = {}
        self._answered: deque[Sent] = deque(maxlen=50)
        self._changed = asyncio.Event()
        self._stopping = False
        self._given_up = False
        self._client: Client

    async def connect(self, url: str) -> Self:
        self._client = await nats.connect(url, **patient())
        self._inbox = f"_INBOX.{self._name}"
        await self._client.subscribe(self._inbox, cb=self._on_reply)
        await self._client.flush()
        return self

    async def close(self) -> None:
        await self._client.close()

    def stop(self) -> None:
        self._stopping = True

    def give_up(self) -> None:
        self._given_up = True
        self._changed.set()

    async def live(self, pause_s: float) -> None:
        while not self._stopping:
            await self._ask(self._burst())
            await asyncio.sleep(self._rng.uniform(0, pause_s))

    async def _ask(self, burst: list[Sent]) -> None:
        """Send it, and what is unanswered again and again."""
        self._open = {sent.key: sent for sent in burst}
        for _ in range(SENDINGS_LIMIT):
            await self._send(list(self._open.values()))
            if await self._all_answered() or self._given_up:
                break
        self._diary.given_up += self._open

    async def _send(self, burst: list[Sent]) -> None:
        for sent in burst:
            sent.sent_ms = sent.sent_ms or now_ms()
            sent.sendings += 1
            for _ in range(2 if self._rng.random() < 0.05 else 1):
                await self._client.publish(sent.subject, sent.body, reply=self._inbox)

    async def _all_answered(self) -> bool:
        try:
            async with asyncio.timeout(AGAIN_AFTER_S * self._rng.uniform(0.7, 1.3)):
                while self._open and not self._given_up:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return not self._open

    async def _on_reply(self, msg: Msg) -> None:
        said = orjson.loads(msg.data)
        if not self._ledger.hear(said, msg.data):
            return
        sent = self._open.pop((said["channel_id"], said["request_id"]), None)
        if sent is not None:
            sent.answered = True
            self._answered.append(sent)
            self._changed.set()

    def _burst(self) -> list[Sent]:
        rng = self._rng
        if self._answered and rng.random() < 0.05:
            self._diary.asked_again += 1
            return [rng.choice(self._answered)]
        channel, number = rng.choice(self._channels), next(self._bursts)
        return [
            self._command(channel, (f"{self._name} {number}", place))
            for place in range(rng.randint(1, LONGEST_BURST))
        ]

    def _command(self, channel: str, burst: tuple[str, int]) -> Sent:
        request_id = f"{self._name}-{next(self._numbers)}"
        kind = self._rng.choices(list(KINDS), list(KINDS.values()))[0]
        subject, message = self._message(kind, request_id)
        message |= {"channel_id": channel, "username": self._name, "request_id": request_id}
        key = channel, request_id
        sent = Sent(key, kind, subject, orjson.dumps(message), burst, self._name)
        self._diary.sent[key] = sent
        return sent

    def _message(self, kind: str, request_id: str) -> tuple[str, dict[str, Any]]:
        """Over both subjects: they share one order."""
        text = asked(request_id)
        by_request = self._rng.random() < 0.5
        if kind == "complete" or (by_request and kind in ("chat", "reset")):
            more = {"message": text, "stream": self._rng.random() < 0.5}
            return "llm.request", {"action": kind, **({} if kind == "reset" else more)}
        words = {
            "chat": text,
            "persona": f"persona {self._rng.choice(list(BUILT_IN))}",
            "personas": "persona",
        }
        return "rosey.command.chat", {"command": "chat", "args": words.get(kind, kind).split()}
