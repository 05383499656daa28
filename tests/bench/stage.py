"""All that takes part, alive at once: NATS, fake provider, engine, yardsticks, load.

Each is a process of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.settings import SubjectSettings
from engine.traffic.embedded import EmbeddedNats
from tests.bench import machine, yardsticks
from tests.bench.children import Child, installed, module, running

SUBJECTS = SubjectSettings()
TEXT = "m" * yardsticks.MESSAGE_BYTES
SLOW_MODEL, FAST_MODEL = "ms-200", "ms-0"
SLOW_MS = 200
MAX_CONCURRENCY = 4096
PASSWORD_VARIABLE = "ROSEY_BENCH_NATS_PASSWORD"

# What differs from the defaults is what would be measured in place of the engine: the limit on
# calls at once, which is meant to spare a provider.
CONFIG = """\
default_provider = "bench"
fallback_providers = []

[http]
port = 0

[log]
level = "warning"

[storage]
path = "engine.db"
durability = "full"

[nats]
url = {nats_url}
user = "engine"
password = "${{{password_variable}}}"

[providers.bench]
kind = "openai"
base_url = {provider_url}
default_model = "{slow_model}"
max_concurrency = {max_concurrency}
max_retries = 0
"""


@dataclass(frozen=True)
class Contestant:
    """Who answers, and how it is asked: on `subject`, with `body` and the channel added."""

    name: str
    process: Child
    subject: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Stage:
    nats_pid: int
    provider: Child
    engine: Child
    yardsticks: Child
    load: Child

    def streamed(self) -> Contestant:
        """As people use it: `!chat`, the answer growing on `llm.stream`."""
        body = {"command": "chat", "args": TEXT, "username": "alice"}
        return Contestant("engine, streamed", self.engine, SUBJECTS.chat, body)

    def whole(self, model: str) -> Contestant:
        return Contestant("engine", self.engine, SUBJECTS.request, _request(model))

    def bare(self, model: str) -> Contestant:
        return Contestant("bare loop", self.yardsticks, yardsticks.BARE, _request(model))

    def one_at_a_time(self, model: str) -> Contestant:
        subject = yardsticks.ONE_AT_A_TIME
        return Contestant("one at a time", self.yardsticks, subject, _request(model))

    def cpu_s(self) -> dict[str, float]:
        """Processor time used so far, by name."""
        pids = {
            "nats-server": self.nats_pid,
            "fake provider": self.provider.pid,
            "engine": self.engine.pid,
            "yardsticks": self.yardsticks.pid,
            "load": self.load.pid,
        }
        return {name: machine.cpu_s(pid) for name, pid in pids.items()}


@asynccontextmanager
async def stage(folder: Path, profile: Path | None = None) -> AsyncIterator[Stage]:
    """Everything, warm and connected; ended in order. With `profile`, the engine is profiled."""
    nats = EmbeddedNats(
        folder / "nats",
        port=0,
        bot_publish=[SUBJECTS.chat, SUBJECTS.request, "bench.>"],
        bot_subscribe=[SUBJECTS.response, SUBJECTS.error, "bench.>"],
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(nats)
        assert nats.pid is not None
        provider = await stack.enter_async_context(
            running("fake provider", module("fake_provider"))
        )
        provider_url = orjson.loads(provider.ready)["url"]
        engine = await stack.enter_async_context(
            running(
                "engine",
                _engine_command(_write_config(folder, nats.url, provider_url), profile),
                {PASSWORD_VARIABLE: nats.engine_password},
            )
        )
        others = await stack.enter_async_context(
            running("yardsticks", module("yardsticks", nats.url, provider_url))
        )
        heard = (SUBJECTS.response, SUBJECTS.error, yardsticks.ANSWER)
        load = await stack.enter_async_context(running("load", module("load", nats.url, *heard)))
        yield Stage(nats.pid, provider, engine, others, load)


def _engine_command(config: Path, profile: Path | None) -> list[str]:
    """What users run."""
    command = [installed("rosey-llm"), "run", "--config", str(config)]
    if profile is None:
        return command
    return [installed("python"), "-m", "cProfile", "-o", str(profile), *command]


def _write_config(folder: Path, nats_url: str, provider_url: str) -> Path:
    path = folder / "rosey-llm.toml"
    path.write_text(
        CONFIG.format(
            nats_url=orjson.dumps(nats_url).decode(),
            password_variable=PASSWORD_VARIABLE,
            provider_url=orjson.dumps(f"{provider_url}/v1").decode(),
            slow_model=SLOW_MODEL,
            max_concurrency=MAX_CONCURRENCY,
        )
    )
    return path


def _request(model: str) -> dict[str, Any]:
    return {
        "action": "chat",
        "message": TEXT,
        "username": "alice",
        "model": model,
        "stream": False,
    }
