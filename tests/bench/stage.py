"""The processes of a measurement: NATS, provider, load, yardsticks, engines as users run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
import tomlkit

from engine.traffic.embedded.server import EmbeddedNats
from tests.bench import yardsticks
from tests.bench.children import Child, alone, installed, module, running

SLOW_MODEL, FAST_MODEL = "ms-200", "ms-0"
# Not the default: that limit protects a provider, and would be measured instead of the engine.
MAX_CONCURRENCY = 4096
SUBJECTS, OUTGOING = "bench.>", "bench.out.>"  # of all that takes part; of all answers
ANSWER_LIMIT_S = 60.0
SLICE_LIMIT_S = 180.0
VISIT_LIMIT_S = 320.0


@dataclass(frozen=True)
class Contestant:
    """A process under test and how to ask it: `body` plus a channel, on `subject`."""

    process: Child
    subject: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """The particular configuration of an engine.

    name: also of its folder and in its subjects.
    channels: its section [channels].
    storage: keys of [storage] that add to or replace a new database and durability full.
    plain: use the plain store. profile: where to write a profile. environment: more variables.
    """

    name: str
    channels: Mapping[str, int] = field(default_factory=dict)
    storage: Mapping[str, object] = field(default_factory=dict)
    max_concurrency: int = MAX_CONCURRENCY
    plain: bool = False
    profile: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def subjects(self) -> dict[str, str]:
        """Where it listens and answers, as in its section [nats.subjects]."""
        incoming = {key: f"bench.in.{self.name}.{key}" for key in ("chat", "request")}
        outgoing = {key: f"bench.out.{self.name}.{key}" for key in ("response", "error", "stream")}
        return {**incoming, **outgoing}


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    process: Child
    subjects: Mapping[str, str]

    def by_request(self, model: str, *, stream: bool = False) -> Contestant:
        """Ask it as another plugin does, with `llm.request`."""
        return Contestant(self.process, self.subjects["request"], _request(model, stream))

    def by_chat(self) -> Contestant:
        """Ask it as people do, with `!chat`; the growing answer goes to `llm.stream`."""
        body = {"command": "chat", "args": yardsticks.TEXT, "username": "alice"}
        return Contestant(self.process, self.subjects["chat"], body)


class Stage:
    """A running NATS server, provider and load, in a folder, with the contestants beside them.

    The engine's sections share three, which run the whole time: `engine`, as users run it; `plain`,
    with the plain store; `yardsticks`, one process of all of them. A section may add engines. While
    one is measured, the others are stopped.

    pids: of the processes whose processor time is measured, by their names.
    """

    engine: Engine
    plain: Engine
    yardsticks: Child

    def __init__(self, folder: Path, nats: EmbeddedNats, provider: Child, load: Child) -> None:
        assert nats.pid is not None
        self.folder = folder
        self.pids = {"nats-server": nats.pid, "fake provider": provider.pid, "load": load.pid}
        self._nats = nats
        self._provider_url = orjson.loads(provider.ready)["url"]
        self._load = load
        self._resting: set[Child] = set()  # all that are stopped while another is measured

    @asynccontextmanager
    async def contestants(self, profile: Path | None = None) -> AsyncIterator[Self]:
        """Run the contestants until the block ends. The place for one more, asked by a method.

        A new one starts here and has a method such as `bare`; `throughput` compares them.

        profile: where to write a profile of the engine.
        """
        bare = module("yardsticks", self._nats.url, self._provider_url)
        async with (
            self.running(Variant("engine", profile=profile)) as self.engine,
            self.running(Variant("plain-way", plain=True)) as self.plain,
            running("yardsticks", bare) as self.yardsticks,
        ):
            self.pids["engine"] = self.engine.process.pid
            self.pids["plain way"] = self.plain.process.pid
            self.pids["yardsticks"] = self.yardsticks.pid
            self._resting.add(self.yardsticks)
            yield self

    def bare(self, model: str) -> Contestant:
        return Contestant(self.yardsticks, yardsticks.BARE, _request(model))

    def one_at_a_time(self, model: str) -> Contestant:
        return Contestant(self.yardsticks, yardsticks.ONE_AT_A_TIME, _request(model))

    def bare_relay(self, model: str) -> Contestant:
        return Contestant(self.yardsticks, yardsticks.RELAY, _request(model))

    @asynccontextmanager
    async def running(self, variant: Variant) -> AsyncIterator[Engine]:
        """Run an engine until the block ends."""
        command = self.command(variant)
        if variant.plain:
            command = module("plain", *command[1:])
        if variant.profile is not None:
            command = [installed("python"), "-m", "cProfile", "-o", str(variant.profile), *command]
        async with running(variant.name, command, variant.environment) as process:
            self._resting.add(process)
            yield Engine(process, variant.subjects)
            self._resting.discard(process)

    def command(self, variant: Variant) -> list[str]:
        """Write an engine's configuration into a folder of its own, and return its command."""
        folder = self.folder / variant.name
        folder.mkdir()
        path = folder / "rosey-llm.toml"
        path.write_text(tomlkit.dumps(self._configuration(variant)))
        return [installed("rosey-llm"), "run", "--config", str(path)]

    async def visit(
        self, contestant: Contestant, channels: Sequence[str], at_once: int = 1
    ) -> dict[str, Any]:
        """Send a message in each channel, each answer triggering the next. Raise ChildFailed."""
        more = {"channels": channels, "at_once": at_once}
        return await self._ask("visit", contestant, VISIT_LIMIT_S, **more)

    async def closed_loop(
        self, contestant: Contestant, channels: int, in_flight: int, seconds: float
    ) -> dict[str, Any]:
        """Measure a slice with `in_flight` messages at the same time over `channels`.

        Return the load's answer, see `tests.bench.load.ClosedLoop`, with the processor time of the
        asked process and of `pids`. Raise ChildFailed.
        """
        pids = {**self.pids, "asked": contestant.process.pid}
        more = {"channels": channels, "in_flight": in_flight, "seconds": seconds, "pids": pids}
        return await self._ask("closed_loop", contestant, SLICE_LIMIT_S, **more)

    async def open_loop(
        self, contestant: Contestant, rate: float, seconds: float, seed: int, **more: Any
    ) -> dict[str, Any]:
        """Measure a slice with `rate` messages a second, see `tests.bench.load.Load.open_loop`."""
        pace = {"rate": rate, "seconds": seconds, "seed": seed, **more}
        return await self._ask("open_loop", contestant, seconds + ANSWER_LIMIT_S, **pace)

    async def flood(self, contestant: Contestant, waiting: int) -> None:
        """Keep so many commands waiting in one channel, until a `flood` with 0.

        It works on while others are measured.
        """
        self._resting.discard(contestant.process)
        await self._ask("flood", contestant, ANSWER_LIMIT_S, waiting=waiting)

    async def ask_yardsticks(self, question: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        """Measure without NATS, see `tests.bench.yardsticks`. Raise ChildFailed."""
        with alone(self.yardsticks, self._resting):
            return await self.yardsticks.ask(question, limit_s)

    async def _ask(
        self, do: str, contestant: Contestant, limit_s: float, **more: Any
    ) -> dict[str, Any]:
        question = {"do": do, "subject": contestant.subject, "body": contestant.body, **more}
        with alone(contestant.process, self._resting):
            return await self._load.ask(question, limit_s)

    def _configuration(self, variant: Variant) -> dict[str, object]:
        login = {"user": self._nats.engine_user, "password": self._nats.engine_password}
        provider = {
            "kind": "openai",
            "base_url": f"{self._provider_url}/v1",
            "default_model": SLOW_MODEL,
            "max_concurrency": variant.max_concurrency,
            "max_retries": 0,
        }
        return {
            "default_provider": "bench",
            "fallback_providers": [],
            "http": {"port": 0},
            "log": {"level": "warning"},
            "storage": {"path": "engine.db", "durability": "full", **variant.storage},
            "nats": {"url": self._nats.url, **login, "subjects": variant.subjects},
            "channels": variant.channels,
            "providers": {"bench": provider},
        }


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Start a NATS server, the fake provider and the load, and end them after the block."""
    nats = EmbeddedNats(folder / "nats", port=0, bot_publish=[SUBJECTS], bot_subscribe=[SUBJECTS])
    async with (
        nats,
        running("fake provider", module("fake_provider")) as provider,
        running("load", module("load", nats.url, OUTGOING)) as load,
    ):
        yield Stage(folder, nats, provider, load)


def _request(model: str, stream: bool = False) -> dict[str, Any]:
    asked = {"action": "chat", "message": yardsticks.TEXT, "username": "alice"}
    return {**asked, "model": model, "stream": stream}
