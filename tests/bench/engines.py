"""Engines as processes, run as users run them, each with its own configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.config.settings import SubjectSettings
from tests.bench.children import Child, installed, module, running
from tests.bench.model_call import MESSAGE_BYTES

TEXT = "m" * MESSAGE_BYTES
SLOW_MODEL, FAST_MODEL = "ms-200", "ms-0"
SLOW_MS = 200
MAX_CONCURRENCY = 4096
PASSWORD_VARIABLE = "ROSEY_BENCH_NATS_PASSWORD"

# max_concurrency is not the default: that limit protects a provider, and would be measured instead
# of the engine.
CONFIG = """\
default_provider = "bench"
fallback_providers = []

[http]
port = 0

[log]
level = "warning"

[storage]
{storage}

[nats]
url = {nats_url}
user = "engine"
password = "${{{password_variable}}}"

[nats.subjects]
{subjects}

[channels]
{channels}

[providers.bench]
kind = "openai"
base_url = {provider_url}
default_model = "{slow_model}"
max_concurrency = {max_concurrency}
max_retries = 0
"""


@dataclass(frozen=True)
class Contestant:
    """A process under test and how to ask it: `body` plus a channel, on `subject`."""

    name: str
    process: Child
    subject: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Engine:
    """A running engine and where it listens."""

    name: str
    process: Child
    subjects: SubjectSettings

    def by_request(self, model: str, *, stream: bool = False) -> Contestant:
        """Ask it as another plugin does, with `llm.request`."""
        return Contestant(self.name, self.process, self.subjects.request, request(model, stream))

    def by_chat(self) -> Contestant:
        """Ask it as people do, with `!chat`; the growing answer goes to `llm.stream`."""
        body = {"command": "chat", "args": TEXT, "username": "alice"}
        return Contestant(f"{self.name}, streamed", self.process, self.subjects.chat, body)


@dataclass(frozen=True)
class Environment:
    """What all engines of a stage share."""

    folder: Path
    nats_url: str
    nats_password: str
    provider_url: str


@dataclass(frozen=True)
class Variant:
    """The particular configuration of an engine.

    name: also of its folder and, unless `subjects` is given, of its subjects.
    channels: its section [channels].
    storage: keys of [storage] that add to or replace a new database and durability full.
    plain: use the plain store. profile: where to write a profile.
    """

    name: str
    subjects: SubjectSettings | None = None
    channels: Mapping[str, int] = field(default_factory=dict)
    storage: Mapping[str, object] = field(default_factory=dict)
    max_concurrency: int = MAX_CONCURRENCY
    plain: bool = False
    profile: Path | None = None


def request(model: str, stream: bool = False) -> dict[str, Any]:
    return {
        "action": "chat",
        "message": TEXT,
        "username": "alice",
        "model": model,
        "stream": stream,
    }


@asynccontextmanager
async def engine(environment: Environment, variant: Variant) -> AsyncIterator[Engine]:
    subjects = variant.subjects or own_subjects(variant.name)
    config = write_config(environment, variant, subjects)
    variables = {PASSWORD_VARIABLE: environment.nats_password}
    async with running(variant.name, _command(config, variant), variables) as process:
        yield Engine(variant.name, process, subjects)


def own_subjects(name: str) -> SubjectSettings:
    name = name.replace(" ", "-")
    incoming, outgoing = f"bench.in.{name}", f"bench.out.{name}"
    return SubjectSettings(
        chat=f"{incoming}.chat",
        request=f"{incoming}.request",
        response=f"{outgoing}.response",
        error=f"{outgoing}.error",
        stream=f"{outgoing}.stream",
    )


def _command(config: Path, variant: Variant) -> list[str]:
    arguments = ["run", "--config", str(config)]
    if variant.plain:
        return module("plain", *arguments)
    command = [installed("rosey-llm"), *arguments]
    if variant.profile is None:
        return command
    return [installed("python"), "-m", "cProfile", "-o", str(variant.profile), *command]


def write_config(environment: Environment, variant: Variant, subjects: SubjectSettings) -> Path:
    """Write the engine's configuration into a folder of its own and return its path."""
    folder = environment.folder / variant.name.replace(" ", "-")
    folder.mkdir()
    path = folder / "rosey-llm.toml"
    path.write_text(
        CONFIG.format(
            nats_url=_quoted(environment.nats_url),
            password_variable=PASSWORD_VARIABLE,
            subjects=_lines(vars(subjects)),
            channels=_lines(variant.channels),
            storage=_lines({"path": "engine.db", "durability": "full", **variant.storage}),
            provider_url=_quoted(f"{environment.provider_url}/v1"),
            slow_model=SLOW_MODEL,
            max_concurrency=variant.max_concurrency,
        )
    )
    return path


def _lines(table: Mapping[str, object]) -> str:
    return "\n".join(f"{key} = {_quoted(value)}" for key, value in table.items())


def _quoted(value: object) -> str:
    """Write a value as both TOML and JSON do."""
    return orjson.dumps(value).decode()
