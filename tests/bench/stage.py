"""The processes of a measurement: NATS, provider, load, yardsticks, engines as users run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
import tomlkit

from engine.traffic.embedded.server import BotRights, EmbeddedNats
from providers.openai import OpenAIProvider
from tests.bench.children import Child, alone, installed, module, running
from tests.bench.yardsticks import BARE, ONE_AT_A_TIME, RELAY, TEXT

SLOW_MODEL, FAST_MODEL = "ms-200", "ms-0"
CHANNELS = 200  # that speak at the same time
# Not the default: that limit protects a provider, and would be measured instead of the engine.
MAX_CONCURRENCY = 4096
SUBJECTS, OUTGOING = "bench.>", "bench.out.>"  # of all that takes part; of all answers
SILENCE = "bench.nobody"
DEFAULT_FILE = Path("rosey-llm.toml")


@dataclass(frozen=True)
class Contestant:
    """A process under test, and who asks it: `sender`, which is told `how`.

    Each method measures one slice, see `tests.bench.pacing`, while all other processes are stopped.
    """

    process: Child
    sender: Child
    how: Mapping[str, Any]
    stage: Stage

    async def visit(self, channels: Sequence[str], at_once: int = 1) -> dict[str, Any]:
        return await self._loop("visit", channels=channels, at_once=at_once)

    async def closed_loop(
        self, seconds: float, at_once: int = CHANNELS, channels: int | None = None
    ) -> dict[str, Any]:
        """channels: over which the messages go round, by default `at_once`."""
        pids = {**self.stage.pids, "asked": self.process.pid}
        counts = {"channels": channels or at_once, "at_once": at_once}
        return await self._loop("closed", **counts, seconds=seconds, pids=pids)

    async def open_loop(
        self, rate: float, seconds: float, seed: int, channels: int = CHANNELS, **more: Any
    ) -> dict[str, Any]:
        pace = {"channels": channels, "rate": rate, "seconds": seconds, "seed": seed}
        return await self._loop("open", **pace, **more)

    async def flood(self, waiting: int) -> None:
        """Keep so many commands waiting in one channel, until a `flood` with 0.

        It works on while others are measured.
        """
        self.stage.resting.discard(self.process)
        await self.sender.ask("flood", how=self.how, waiting=waiting)

    async def crowd(self, at_once: int) -> int:
        """Let one person ask so much at once in a room, again and again, until a `crowd` with 0.

        It goes on while others are measured. Return the most turns of this person that somebody
        else in the room has waited for.
        """
        self.stage.resting.discard(self.process)
        turns: int = (await self.sender.ask("crowd", how=self.how, at_once=at_once))["turns"]
        return turns

    async def _loop(self, kind: str, **more: Any) -> dict[str, Any]:
        with alone(self.process, self.stage.resting):
            return await self.sender.ask("loop", kind=kind, how=self.how, **more)


@dataclass(frozen=True)
class Variant:
    """The particular configuration of an engine.

    name: also of its folder and in its subjects.
    channels: its section [channels].
    limits: its section [limits].
    storage: keys of [storage] that add to or replace a new database and durability full.
    default_file: take everything else from the file that the project comes with.
    launcher: the module of the benchmark that runs it. profile: where to write a profile.
    environment: more variables.
    unheard_errors: publish what is refused where the load does not listen.
    """

    name: str
    channels: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    storage: Mapping[str, object] = field(default_factory=dict)
    max_concurrency: int = MAX_CONCURRENCY
    default_file: bool = False
    launcher: str = ""
    profile: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    unheard_errors: bool = False

    @property
    def subjects(self) -> dict[str, str]:
        """Where it listens and answers, as in its section [nats.subjects]."""
        incoming = {key: f"bench.in.{self.name}.{key}" for key in ("chat", "request")}
        outgoing = {key: f"bench.out.{self.name}.{key}" for key in ("response", "error", "stream")}
        if self.unheard_errors:
            outgoing["error"] = f"{SILENCE}.{self.name}.error"
        return {**incoming, **outgoing}


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    process: Child
    subjects: Mapping[str, str]
    stage: Stage

    def by_request(self, model: str, *, stream: bool = False) -> Contestant:
        """Ask it as another plugin does, with `llm.request`."""
        subject = self.subjects["request"]
        return self.stage.over_nats(self.process, subject, _request(model, stream))

    def by_chat(self) -> Contestant:
        """Ask it as people do, with `!chat`; the growing answer goes to `llm.stream`."""
        body = {"command": "chat", "args": TEXT, "username": "alice"}
        return self.stage.over_nats(self.process, self.subjects["chat"], body)


class Stage:
    """A running NATS server, provider and load, in a folder, with the contestants beside them.

    The engine's sections share three, which run the whole time: `engine`, as users run it; `plain`,
    with the plain store; `yardsticks`, one process of all of them. A section may add engines. While
    one is measured, the others are stopped.

    pids: of the processes whose processor time is measured, by their names.
    resting: all that are stopped while another is measured.
    """

    engine: Engine
    plain: Engine
    yardsticks: Child

    def __init__(self, folder: Path, nats: EmbeddedNats, provider: Child, load: Child) -> None:
        assert nats.pid is not None
        self.folder = folder
        self.provider = provider
        self.pids = {"nats-server": nats.pid, "fake provider": provider.pid, "load": load.pid}
        self.resting = set[Child]()
        self._nats = nats
        self._url = orjson.loads(provider.ready)["url"]
        self._load = load

    @asynccontextmanager
    async def contestants(self, profile: Path | None = None) -> AsyncIterator[Self]:
        """Run the contestants until the block ends. The place for one more, asked by a method.

        A new one starts here and has a method such as `bare`; `throughput` compares them.

        profile: where to write a profile of the engine.
        """
        async with (
            self.running(Variant("engine", profile=profile)) as self.engine,
            self.running(Variant("plain-way", launcher="plain")) as self.plain,
            running("yardsticks", module("yardsticks", self._nats.url, self._url)) as yardsticks,
        ):
            self.yardsticks = yardsticks
            self.pids["engine"] = self.engine.process.pid
            self.pids["plain way"] = self.plain.process.pid
            self.pids["yardsticks"] = yardsticks.pid
            self.resting.add(yardsticks)
            yield self

    def bare(self, model: str, subject: str = BARE) -> Contestant:
        return self.over_nats(self.yardsticks, subject, _request(model))

    def one_at_a_time(self, model: str) -> Contestant:
        return self.bare(model, ONE_AT_A_TIME)

    def bare_relay(self, model: str) -> Contestant:
        return self.bare(model, RELAY)

    def direct(self, model: str, way: str = "whole") -> Contestant:
        """Ask the provider without NATS, see `tests.bench.yardsticks.Direct`."""
        return Contestant(self.yardsticks, self.yardsticks, {"model": model, "way": way}, self)

    @asynccontextmanager
    async def deaf_load(self) -> AsyncIterator[Child]:
        """Run one more load, which hears no answers, until the block ends."""
        async with running("deaf load", module("load", self._nats.url, SILENCE)) as load:
            yield load

    def over_nats(self, process: Child, subject: str, body: Mapping[str, Any]) -> Contestant:
        return Contestant(process, self._load, {"subject": subject, "body": body}, self)

    @asynccontextmanager
    async def running(self, variant: Variant) -> AsyncIterator[Engine]:
        """Run an engine until the block ends."""
        command = self.command(variant)
        if variant.launcher:
            command = module(variant.launcher, *command[1:])
        if variant.profile is not None:
            command = [installed("python"), "-m", "cProfile", "-o", str(variant.profile), *command]
        async with running(variant.name, command, variant.environment) as process:
            self.resting.add(process)
            yield Engine(process, variant.subjects, self)
            self.resting.discard(process)

    def command(self, variant: Variant) -> list[str]:
        """Write an engine's configuration into a folder of its own, and return its command."""
        folder = self.folder / variant.name
        folder.mkdir()
        path = folder / "rosey-llm.toml"
        path.write_text(tomlkit.dumps(self._configuration(variant)))
        return [installed("rosey-llm"), "run", "--config", str(path)]

    def _configuration(self, variant: Variant) -> Mapping[str, Any]:
        settings: dict[str, Any] = {}
        provider: dict[str, Any] = {"max_concurrency": variant.max_concurrency, "max_retries": 0}
        if variant.default_file:
            settings = tomlkit.parse(DEFAULT_FILE.read_text()).unwrap()
            # What a service on the internet gets; the provider of the benchmark is on this machine.
            provider = {"max_concurrency": OpenAIProvider.Config.max_concurrency}
        provider |= {"kind": "openai", "base_url": f"{self._url}/v1", "default_model": SLOW_MODEL}
        login = {"user": self._nats.engine_user, "password": self._nats.engine_password}
        return {
            **settings,
            "default_provider": "bench",
            "fallback_providers": [],
            "http": {"port": 0},
            "log": {"level": "warning"},
            "storage": {"path": "engine.db", "durability": "full", **variant.storage},
            "nats": {"url": self._nats.url, **login, "subjects": variant.subjects},
            "channels": {**settings.get("channels", {}), **variant.channels},
            "limits": {**settings.get("limits", {}), **variant.limits},
            "providers": {"bench": provider},
        }


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Start a NATS server, the fake provider and the load, and end them after the block."""
    rights = BotRights(publish=[SUBJECTS], subscribe=[SUBJECTS])
    nats = EmbeddedNats(folder / "nats", port=0, rights=rights, is_open=True)
    async with (
        nats,
        running("fake provider", module("fake_provider")) as provider,
        running("load", module("load", nats.url, OUTGOING)) as load,
    ):
        yield Stage(folder, nats, provider, load)


def _request(model: str, stream: bool = False) -> dict[str, Any]:
    asked = {"action": "chat", "message": TEXT, "username": "alice"}
    return {**asked, "model": model, "stream": stream}
