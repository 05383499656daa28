"""The processes of a measurement: NATS, provider, load, yardsticks, engines as users run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.traffic.embedded.server import EmbeddedNats
from tests.bench import yardsticks
from tests.bench.children import Child, installed, module, running

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


class Visited(NamedTuple):
    """Seconds until all answers had arrived, and the microseconds that each of them took."""

    seconds: float
    taken_us: list[int]


@dataclass(frozen=True)
class Variant:
    """The particular configuration of an engine.

    name: also of its folder and in its subjects.
    channels: its section [channels].
    storage: keys of [storage] that add to or replace a new database and durability full.
    plain: use the plain store. profile: where to write a profile.
    """

    name: str
    channels: Mapping[str, int] = field(default_factory=dict)
    storage: Mapping[str, object] = field(default_factory=dict)
    max_concurrency: int = MAX_CONCURRENCY
    plain: bool = False
    profile: Path | None = None

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


@dataclass(frozen=True)
class Environment:
    """A running NATS server, provider and load, and a folder, for one engine or several."""

    folder: Path
    nats: EmbeddedNats
    provider: Child
    provider_url: str
    load: Child

    @asynccontextmanager
    async def engine(self, variant: Variant) -> AsyncIterator[Engine]:
        """Run an engine until the block ends."""
        command = self.command(variant)
        if variant.plain:
            command = module("plain", *command[1:])
        if variant.profile is not None:
            command = [installed("python"), "-m", "cProfile", "-o", str(variant.profile), *command]
        async with running(variant.name, command) as process:
            yield Engine(process, variant.subjects)

    def command(self, variant: Variant) -> list[str]:
        """Write an engine's configuration into a folder of its own, and return its command."""
        folder = self.folder / variant.name
        folder.mkdir()
        path = folder / "rosey-llm.toml"
        path.write_text("\n".join(self._toml(variant)))
        return [installed("rosey-llm"), "run", "--config", str(path)]

    async def ask(
        self, do: str, contestant: Contestant, *, limit_s: float = ANSWER_LIMIT_S, **more: Any
    ) -> dict[str, Any]:
        """Put a load on a contestant and return the figures. Raise ChildFailed."""
        question = {"do": do, "subject": contestant.subject, "body": contestant.body, **more}
        return await self.load.ask(question, limit_s)

    async def visit(
        self, contestant: Contestant, channels: Sequence[str], at_once: int = 1
    ) -> Visited:
        """Send a message in each channel, each answer triggering the next. Raise ChildFailed."""
        more = {"channels": channels, "at_once": at_once}
        return Visited(**await self.ask("visit", contestant, **more, limit_s=VISIT_LIMIT_S))

    def _toml(self, variant: Variant) -> list[str]:
        nats = {"user": self.nats.engine_user, "password": self.nats.engine_password}
        provider = {
            "kind": "openai",
            "base_url": f"{self.provider_url}/v1",
            "default_model": SLOW_MODEL,
            "max_concurrency": variant.max_concurrency,
            "max_retries": 0,
        }
        tables: dict[str, Mapping[str, object]] = {
            "http": {"port": 0},
            "log": {"level": "warning"},
            "storage": {"path": "engine.db", "durability": "full", **variant.storage},
            "nats": {"url": self.nats.url, **nats},
            "nats.subjects": variant.subjects,
            "channels": variant.channels,
            "providers.bench": provider,
        }
        lines = ['default_provider = "bench"', "fallback_providers = []"]
        for name, table in tables.items():
            lines.append(f"[{name}]")
            # These values are written the same in TOML and in JSON.
            lines += [f"{key} = {orjson.dumps(value).decode()}" for key, value in table.items()]
        return lines


@dataclass(frozen=True)
class Stage:
    """What the engine's sections share. engine: as users run it; plain: with the plain store."""

    around: Environment
    engine: Engine
    plain: Engine
    yardsticks: Child

    def bare(self, model: str) -> Contestant:
        return Contestant(self.yardsticks, yardsticks.BARE, _request(model))

    def one_at_a_time(self, model: str) -> Contestant:
        return Contestant(self.yardsticks, yardsticks.ONE_AT_A_TIME, _request(model))

    def bare_relay(self, model: str) -> Contestant:
        return Contestant(self.yardsticks, yardsticks.RELAY, _request(model))

    async def closed_loop(
        self, contestant: Contestant, channels: int, in_flight: int, seconds: float
    ) -> dict[str, Any]:
        """Measure a slice with `in_flight` messages at the same time over `channels`.

        Return the load's answer, see `tests.bench.load.ClosedLoop`, with the processor time of all
        that run the whole time. Raise ChildFailed.
        """
        nats_pid = self.around.nats.pid
        assert nats_pid is not None
        pids = {
            "nats-server": nats_pid,
            "fake provider": self.around.provider.pid,
            "engine": self.engine.process.pid,
            "plain way": self.plain.process.pid,
            "yardsticks": self.yardsticks.pid,
            "load": self.around.load.pid,
            "asked": contestant.process.pid,
        }
        more = {"channels": channels, "in_flight": in_flight, "seconds": seconds, "pids": pids}
        return await self.around.ask("closed_loop", contestant, **more, limit_s=SLICE_LIMIT_S)


@asynccontextmanager
async def environment(folder: Path) -> AsyncIterator[Environment]:
    """Start a NATS server, the fake provider and the load, and end them after the block."""
    nats = EmbeddedNats(folder / "nats", port=0, bot_publish=[SUBJECTS], bot_subscribe=[SUBJECTS])
    async with (
        nats,
        running("fake provider", module("fake_provider")) as provider,
        running("load", module("load", nats.url, OUTGOING)) as load,
    ):
        yield Environment(folder, nats, provider, orjson.loads(provider.ready)["url"], load)


@asynccontextmanager
async def stage(folder: Path, profile: Path | None = None) -> AsyncIterator[Stage]:
    """Start everything, and end it in order after the block. profile: where to write a profile."""
    async with AsyncExitStack() as stack:
        around = await stack.enter_async_context(environment(folder))

        async def engine(variant: Variant) -> Engine:
            return await stack.enter_async_context(around.engine(variant))

        bare = module("yardsticks", around.nats.url, around.provider_url)

        yield Stage(
            around,
            engine=await engine(Variant("engine", profile=profile)),
            plain=await engine(Variant("plain-way", plain=True)),
            yardsticks=await stack.enter_async_context(running("yardsticks", bare)),
        )


def _request(model: str, stream: bool = False) -> dict[str, Any]:
    asked = {"action": "chat", "message": yardsticks.TEXT, "username": "alice"}
    return {**asked, "model": model, "stream": stream}
