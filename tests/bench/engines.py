"""Engines as processes, run as users run them, each with its own configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.config.settings import SubjectSettings
from engine.traffic.embedded.server import EmbeddedNats
from tests.bench.children import Child, installed, module, running
from tests.bench.model_call import MESSAGE_BYTES

TEXT = "m" * MESSAGE_BYTES
SLOW_MODEL, FAST_MODEL = "ms-200", "ms-0"
# Not the default: that limit protects a provider, and would be measured instead of the engine.
MAX_CONCURRENCY = 4096
SUBJECTS, OUTGOING = "bench.>", "bench.out.>"  # of all that takes part; of all answers
PASSWORD_VARIABLE = "ROSEY_BENCH_NATS_PASSWORD"


@dataclass(frozen=True)
class Contestant:
    """A process under test and how to ask it: `body` plus a channel, on `subject`."""

    process: Child
    subject: str
    body: dict[str, Any]

    def question(self, do: str) -> dict[str, Any]:
        """Return the beginning of a question to the load."""
        return {"do": do, "subject": self.subject, "body": self.body}


@dataclass(frozen=True)
class Engine:
    """A running engine and where it listens."""

    process: Child
    subjects: SubjectSettings

    def by_request(self, model: str, *, stream: bool = False) -> Contestant:
        """Ask it as another plugin does, with `llm.request`."""
        return Contestant(self.process, self.subjects.request, request(model, stream))

    def by_chat(self) -> Contestant:
        """Ask it as people do, with `!chat`; the growing answer goes to `llm.stream`."""
        body = {"command": "chat", "args": TEXT, "username": "alice"}
        return Contestant(self.process, self.subjects.chat, body)


@dataclass(frozen=True)
class Environment:
    """A running NATS server and provider, and a folder, for one engine or several."""

    folder: Path
    nats: EmbeddedNats
    provider: Child
    provider_url: str


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


def request(model: str, stream: bool = False) -> dict[str, Any]:
    asked = {"action": "chat", "message": TEXT, "username": "alice"}
    return {**asked, "model": model, "stream": stream}


@asynccontextmanager
async def environment(folder: Path) -> AsyncIterator[Environment]:
    """Start a NATS server and the fake provider, and end them after the block."""
    nats = EmbeddedNats(folder / "nats", port=0, bot_publish=[SUBJECTS], bot_subscribe=[SUBJECTS])
    async with nats, running("fake provider", module("fake_provider")) as provider:
        yield Environment(folder, nats, provider, orjson.loads(provider.ready)["url"])


@asynccontextmanager
async def engine(around: Environment, variant: Variant) -> AsyncIterator[Engine]:
    """Run an engine until the block ends."""
    command = engine_command(around, variant)
    if variant.plain:
        command = module("plain", *command[1:])
    if variant.profile is not None:
        command = [installed("python"), "-m", "cProfile", "-o", str(variant.profile), *command]
    async with running(variant.name, command, variables(around)) as process:
        yield Engine(process, _subjects(variant))


def engine_command(around: Environment, variant: Variant) -> list[str]:
    """Write the engine's configuration into a folder of its own, and return the command."""
    folder = around.folder / variant.name.replace(" ", "-")
    folder.mkdir()
    path = folder / "rosey-llm.toml"
    path.write_text("\n".join(_toml(around, variant)))
    return [installed("rosey-llm"), "run", "--config", str(path)]


def variables(around: Environment) -> dict[str, str]:
    """Return the environment variables that the engine's configuration names."""
    return {PASSWORD_VARIABLE: around.nats.engine_password}


def _subjects(variant: Variant) -> SubjectSettings:
    name = variant.name.replace(" ", "-")
    incoming = {key: f"bench.in.{name}.{key}" for key in ("chat", "request")}
    outgoing = {key: f"bench.out.{name}.{key}" for key in ("response", "error", "stream")}
    return SubjectSettings(**incoming, **outgoing)


def _toml(around: Environment, variant: Variant) -> list[str]:
    password = f"${{{PASSWORD_VARIABLE}}}"
    provider = {
        "kind": "openai",
        "base_url": f"{around.provider_url}/v1",
        "default_model": SLOW_MODEL,
        "max_concurrency": variant.max_concurrency,
        "max_retries": 0,
    }
    tables: dict[str, Mapping[str, object]] = {
        "http": {"port": 0},
        "log": {"level": "warning"},
        "storage": {"path": "engine.db", "durability": "full", **variant.storage},
        "nats": {"url": around.nats.url, "user": "engine", "password": password},
        "nats.subjects": vars(_subjects(variant)),
        "channels": variant.channels,
        "providers.bench": provider,
    }
    lines = ['default_provider = "bench"', "fallback_providers = []"]
    for name, table in tables.items():
        lines.append(f"[{name}]")
        # These values are written the same in TOML and in JSON.
        lines += [f"{key} = {orjson.dumps(value).decode()}" for key, value in table.items()]
    return lines
