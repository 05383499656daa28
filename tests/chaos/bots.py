"""Bots of a chaos run: they resend a request, with the same id, until it is answered."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.config.personas import BUILT_IN
from tests.chaos.llm import MODELS, question
from tests.chaos.witness import Key, Ledger, client_options, now_ms

RETRY_AFTER_S = 0.8
LONGEST_BURST = 4
SEND_LIMIT = 2000
# Refusals after which nobody asks again.
FINAL = ("limit_reached", "not_allowed")
KINDS = {
    "chat": 58,
    "complete": 9,
    "reset": 8,
    "persona": 8,
    "personas": 2,
    "model": 5,
    "help": 3,
    "stop": 6,
}


@dataclass(slots=True)
class SentRequest:
    """A request that a bot sent.

    burst: (sender and burst number, place in the burst); a burst is sent in this order, at once.
    """

    key: Key
    kind: str
    subject: str
    body: bytes
    burst: tuple[str, int]
    username: str
    sent_ms: int = 0
    times_sent: int = 0
    answered: bool = False


@dataclass
class RequestLog:
    """All requests that the bots of a run sent."""

    sent: dict[Key, SentRequest] = field(default_factory=dict)
    given_up: list[Key] = field(default_factory=list)
    repeated: int = 0


class Bot:
    """A bot that sends bursts until `stop`, and then waits for open requests until `give_up`.

    kinds: how often it sends which kind of request. identity: more fields of its requests.
    """

    kinds = KINDS
    identity: Mapping[str, Any] = {}

    def __init__(
        self,
        name: str,
        channels: list[str],
        ledger: Ledger,
        request_log: RequestLog,
        rng: random.Random,
    ) -> None:
        self._name = name
        self._channels = channels
        self._ledger = ledger
        self._request_log = request_log
        self._rng = rng
        self._numbers = count(1)
        self._bursts = count(1)
        self._open: dict[Key, SentRequest] = {}
        self._answered: deque[SentRequest] = deque(maxlen=50)
        self._changed = asyncio.Event()
        self._stopping = False
        self._given_up = False
        self._client: Client

    async def connect(self, url: str) -> Self:
        self._client = await nats.connect(url, **client_options())
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

    async def send_bursts(self, pause_s: float) -> None:
        while not self._stopping:
            await self._send_until_answered(self._new_burst())
            await asyncio.sleep(self._rng.uniform(0, pause_s))

    async def _send_until_answered(self, burst: list[SentRequest]) -> None:
        """Send a burst, and resend what is unanswered."""
        self._open = {sent.key: sent for sent in burst}
        for _ in range(SEND_LIMIT):
            await self._send(list(self._open.values()))
            if await self._all_answered() or self._given_up:
                break
        self._request_log.given_up += self._open

    async def _send(self, burst: list[SentRequest]) -> None:
        for sent in burst:
            sent.sent_ms = sent.sent_ms or now_ms()
            sent.times_sent += 1
            for _ in range(2 if self._rng.random() < 0.05 else 1):
                await self._client.publish(sent.subject, sent.body, reply=self._inbox)

    async def _all_answered(self) -> bool:
        try:
            async with asyncio.timeout(RETRY_AFTER_S * self._rng.uniform(0.7, 1.3)):
                while self._open and not self._given_up:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return not self._open

    async def _on_reply(self, msg: Msg) -> None:
        outcome = orjson.loads(msg.data)
        is_outcome = self._ledger.record(outcome, msg.data)
        if not is_outcome and outcome["code"] not in FINAL:
            return
        sent = self._open.pop((outcome["channel_id"], outcome["request_id"]), None)
        if sent is not None:
            self._changed.set()
            if is_outcome:
                sent.answered = True
                self._answered.append(sent)

    def _new_burst(self) -> list[SentRequest]:
        rng = self._rng
        if self._answered and rng.random() < 0.05:
            self._request_log.repeated += 1
            return [rng.choice(self._answered)]
        channel, number = rng.choice(self._channels), next(self._bursts)
        return [
            self._new_request(channel, (f"{self._name} {number}", place))
            for place in range(rng.randint(1, LONGEST_BURST))
        ]

    def _new_request(self, channel: str, burst: tuple[str, int]) -> SentRequest:
        request_id = f"{self._name}-{next(self._numbers)}"
        kind = self._rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        subject, message = self._message(kind, request_id)
        message |= {"channel_id": channel, "username": self._name, "request_id": request_id}
        message |= self.identity
        key = channel, request_id
        sent = SentRequest(key, kind, subject, orjson.dumps(message), burst, self._name)
        self._request_log.sent[key] = sent
        return sent

    def _message(self, kind: str, request_id: str) -> tuple[str, dict[str, Any]]:
        """Return subject and body. Both subjects are used: they share one order."""
        text = question(request_id)
        by_request = self._rng.random() < 0.5
        if kind == "complete" or (by_request and kind in ("chat", "reset")):
            more = {"message": text, "stream": self._rng.random() < 0.5}
            return "llm.request", {"action": kind, **({} if kind == "reset" else more)}
        words = {
            "chat": text,
            "persona": f"persona {self._rng.choice(list(BUILT_IN))}",
            "personas": "persona",
            "model": f"model {self._rng.choice(MODELS)}",
        }
        return "rosey.command.chat", {"command": "chat", "args": words.get(kind, kind).split()}
