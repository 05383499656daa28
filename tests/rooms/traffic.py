"""What people ask in the rooms, all over one connection, and what they hear."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import nats
import orjson
from fastjsonschema import JsonSchemaException
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.rooms.models import question
from tests.rooms.rules import word
from tests.support.wire_schema import check_sent

OUTCOME_LIMIT_S = 60.0
KINDS = {"chat": 62, "request": 12, "complete": 6, "reset": 3, "persona": 3, "personas": 3}
KINDS |= {"help": 3, "usage": 3, "stop": 5}
PERSONAS = ("default", "concise", "technical", "creative")
FLOODER, BEHIND = "plainroom-mallory", "plainroom-bob"
BURST = 20


@dataclass(slots=True)
class Asked:
    """What was asked, and its outcome once it is there.

    text: what its deltas joined to. is_started: whether its turn is known to have begun.
    """

    number: int
    room: str
    kind: str
    user: str
    outcome: dict[str, Any] | None = None
    text: str = ""
    deltas: int = 0
    is_started: bool = False

    @property
    def request_id(self) -> str:
        return f"{word(self.room)}-{self.number}"

    @property
    def is_from_model(self) -> bool:
        return self.outcome is not None and "provider" in self.outcome

    @property
    def is_answered_chat(self) -> bool:
        return self.is_from_model and self.kind != "complete"


Wanted = Callable[[dict[str, Any]], bool]


class Traffic:
    """All that was asked, in its order, and its outcomes as they come.

    ended: the numbers of what was asked, in the order of its outcomes.
    faults: what should not have come.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ended: list[int] = []
        self.faults: list[str] = []
        self._changed = asyncio.Condition()
        self._client: Client

    async def connect(self, url: str) -> Self:
        self._client = await nats.connect(url)
        await self._client.subscribe("llm.*", cb=self._on_msg)  # one keeps them in order
        await self._client.flush()
        return self

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self, room: str, user: str, kind: str, chosen: str = "", *, slowly: bool = False
    ) -> Asked:
        """Ask; return before the outcome.

        chosen: the persona to switch to. slowly: the answer takes a while.
        """
        asked = Asked(len(self.asked), room, kind, user)
        self.asked.append(asked)
        text = question(asked.request_id, slowly=slowly)
        message: dict[str, Any] = {"channel_id": room, "username": user, "status": True}
        message["request_id"] = asked.request_id
        if kind in ("request", "complete"):
            subject = "llm.request"
            action = "chat" if kind == "request" else kind
            message |= {"action": action, "message": text, "stream": True}
        else:
            subject = "rosey.command.chat"
            words = {"chat": text, "personas": "persona", "persona": f"persona {chosen}"}
            message["args"] = words.get(kind, kind)
        await self._client.publish(subject, orjson.dumps(message))
        return asked

    async def start(self, asked: Asked) -> None:
        """Wait until its turn has begun. Raises TimeoutError."""
        async with asyncio.timeout(OUTCOME_LIMIT_S), self._changed:
            await self._changed.wait_for(lambda: asked.is_started or asked.outcome is not None)

    async def outcome(self, asked: Asked) -> None:
        """Wait until this has an outcome. Raises TimeoutError."""
        async with asyncio.timeout(OUTCOME_LIMIT_S), self._changed:
            await self._changed.wait_for(lambda: asked.outcome is not None)

    async def hear(self, room: str, wanted: Wanted, count: int = 1) -> bool:
        """Wait for so many such outcomes of what is asked in a room from now on.

        Return whether they came in time.
        """
        since = len(self.asked)

        def heard() -> bool:
            found = (each for each in self.asked[since:] if each.room == room and each.outcome)
            return sum(wanted(each.outcome) for each in found if each.outcome) >= count

        with suppress(TimeoutError):
            async with asyncio.timeout(OUTCOME_LIMIT_S), self._changed:
                await self._changed.wait_for(heard)
        return heard()

    async def _on_msg(self, msg: Msg) -> None:
        message = orjson.loads(msg.data)
        try:
            check_sent(message)
        except JsonSchemaException as exc:
            self.faults.append(f"against the schema: {exc}: {message}")
        asked = self.asked[int(message["request_id"].rpartition("-")[2])]
        if message["type"] == "llm_status":
            await self._note_status(asked, message["state"])
            return
        if message["type"] == "llm_delta":
            if message["index"] == 0:
                asked.text, asked.deltas = "", 0
            if asked.outcome is not None or message["index"] != asked.deltas:
                self.faults.append(f"{asked.request_id}: a delta out of order")
            asked.text += message["delta"]
            asked.deltas += 1
            return
        if asked.outcome is not None:
            self.faults.append(f"{asked.request_id}: a second outcome")
        asked.outcome = message
        self.ended.append(asked.number)
        async with self._changed:
            self._changed.notify_all()

    async def _note_status(self, asked: Asked, state: str) -> None:
        if state == "started":
            asked.is_started = True
            async with self._changed:
                self._changed.notify_all()


async def person(
    traffic: Traffic, room: str, name: str, pause_s: float, is_over: Callable[[], bool]
) -> None:
    """Ask one thing after the other until it is over."""
    rng = random.Random(name)
    while not is_over():
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        asked = await traffic.ask(room, name, kind, rng.choice(PERSONAS))
        await traffic.outcome(asked)
        await asyncio.sleep(rng.uniform(0, pause_s))


async def flooder(traffic: Traffic, room: str, pause_s: float, is_over: Callable[[], bool]) -> None:
    """Ask many questions at once, while one is answered; somebody else asks in the middle."""
    while not is_over():
        first = await traffic.ask(room, FLOODER, "chat", slowly=True)
        await traffic.start(first)
        flood = [first, *[await traffic.ask(room, FLOODER, "chat") for _ in range(BURST)]]
        flood.append(await traffic.ask(room, BEHIND, "chat"))
        flood += [await traffic.ask(room, FLOODER, "chat") for _ in range(BURST)]
        for asked in flood:
            await traffic.outcome(asked)
        await asyncio.sleep(pause_s)
