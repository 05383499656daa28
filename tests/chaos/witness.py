"""The witness of a chaos run: receives every outcome that the engine publishes, and checks it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Self

import nats
import orjson
from fastjsonschema import JsonSchemaException
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.texts import sentences
from tests.chaos.ground import RunFolder
from tests.support.wire_schema import check_sent

Key = tuple[str, str]
# Codes of refusals: nothing was accepted, so there is no outcome and nothing on disk.
REFUSALS = ("busy", "suspended", "invalid_request", "limit_reached", "not_allowed")
CHECK_EVERY = 4


@dataclass(frozen=True, slots=True)
class FirstCopy:
    """The first copy of an outcome that was received."""

    body: bytes
    at_ms: int


@dataclass
class Ledger:
    """What the bots and the witness received, by (channel, request id).

    witnessed: what the witness alone received, in that order.
    refused: the code of the newest refusal of each request that was refused.
    vain_stops: copies of answers to stops that stopped nothing.
    gaps: times (ms) in which the witness had no NATS server.
    """

    outcomes: dict[Key, FirstCopy] = field(default_factory=dict)
    witnessed: dict[Key, FirstCopy] = field(default_factory=dict)
    copies: Counter[Key] = field(default_factory=Counter)
    different: dict[Key, bytes] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    refused: dict[Key, str] = field(default_factory=dict)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    too_early: list[Key] = field(default_factory=list)
    commit_checks: int = 0
    vain_stops: int = 0
    bad_deltas: list[str] = field(default_factory=list)
    not_in_schema: list[str] = field(default_factory=list)

    def record(self, message: dict[str, Any], body: bytes) -> bool:
        """Record one copy; return False if it is a refusal."""
        key = message["channel_id"], message["request_id"]
        if message.get("code") in REFUSALS:
            self.refusals[message["code"]] += 1
            self.refused[key] = message["code"]
            return False
        if is_vain_stop(message):
            self.vain_stops += 1
            return True
        self.copies[key] += 1
        first = self.outcomes.setdefault(key, FirstCopy(body, now_ms()))
        if first.body != body:
            self.different.setdefault(key, body)
        return True

    def gap_between(self, from_ms: int, to_ms: int) -> bool:
        return any(began <= to_ms and ended >= from_ms for began, ended in self.gaps)


class Witness:
    """A subscriber to all subjects of the engine.

    It has one subscription for all of them, since nats-py keeps the order only within one.
    """

    def __init__(self, ledger: Ledger, run_folder: RunFolder) -> None:
        self._ledger = ledger
        self._run_folder = run_folder
        self._deltas: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        self._began: dict[Key, int] = {}
        self._lost_ms: int | None = None
        self._client: Client

    async def listen(self, url: str, user: str, password: str) -> Self:
        async def lost() -> None:
            self._lost_ms = self._lost_ms or now_ms()

        async def back() -> None:
            if self._lost_ms is not None:
                self._ledger.gaps.append((self._lost_ms, now_ms()))
                self._lost_ms = None

        self._client = await nats.connect(
            url,
            user=user,
            password=password,
            **client_options(),
            disconnected_cb=lost,
            reconnected_cb=back,
        )
        await self._client.subscribe("llm.>", cb=self._on_msg)
        await self._client.flush()
        return self

    async def close(self) -> None:
        await self._client.close()

    async def _on_msg(self, msg: Msg) -> None:
        if msg.subject == "llm.request":
            return
        message = orjson.loads(msg.data)
        try:
            check_sent(message)
        except JsonSchemaException as exc:
            self._ledger.not_in_schema.append(f"{exc}: {message}")
        key = message["channel_id"], message["request_id"]
        if message["type"] == "llm_delta":
            self._take_delta(key, message)
            return
        ledger = self._ledger
        is_outcome = ledger.record(message, msg.data) and not is_vain_stop(message)
        if is_outcome and key not in ledger.witnessed:
            ledger.witnessed[key] = FirstCopy(msg.data, now_ms())
            self._compare_deltas(key, message)
            self._check_committed(key, msg.data)

    def _take_delta(self, key: Key, message: dict[str, Any]) -> None:
        run = self._deltas[key]
        if message["index"] == 0:
            run.clear()
            self._began[key] = now_ms()
        run.append(message)

    def _compare_deltas(self, key: Key, message: dict[str, Any]) -> None:
        """Check that the deltas begin the answer; after a kill some may be missing."""
        run = self._deltas.pop(key, [])
        began_ms = self._began.pop(key, 0)
        if not run or self._lost_ms or self._ledger.gap_between(began_ms, now_ms()):
            return
        if [each["index"] for each in run] != list(range(len(run))):
            self._ledger.bad_deltas.append(f"{key}: the indexes {[e['index'] for e in run]}")
        if any(each.get("done") for each in run[:-1]):
            self._ledger.bad_deltas.append(f"{key}: a piece after the last one: {run}")
        if {each["username"] for each in run} != {message.get("username")}:
            self._ledger.bad_deltas.append(f"{key}: pieces for another user: {run}, {message}")
        text, content = "".join(each["delta"] for each in run), message.get("content")
        if content is not None and not content.startswith(text):
            self._ledger.bad_deltas.append(f"{key}: {run} and then {content!r}")
        if content is not None and run[-1].get("done") and content != text:
            self._ledger.bad_deltas.append(f"{key}: {run} ended before {content!r}")

    def _check_committed(self, key: Key, body: bytes) -> None:
        """Check now that the outcome is stored; only a sample: each check opens the database."""
        if len(self._ledger.witnessed) % CHECK_EVERY:
            return
        self._ledger.commit_checks += 1
        if self._run_folder.committed(*key) != body:
            self._ledger.too_early.append(key)


def is_vain_stop(message: dict[str, Any]) -> bool:
    """Return whether this answers a stop that stopped nothing; nothing of it is stored."""
    return (
        message.get("content") == sentences.NOTHING_TO_STOP.english and message["action"] == "stop"
    )


def client_options() -> dict[str, Any]:
    """Return the options of a run's clients: they reconnect quickly and log nothing."""

    async def ignore(_: Exception) -> None: ...

    return {
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.02,
        "error_cb": ignore,
    }


def now_ms() -> int:
    return time.time_ns() // 1_000_000
