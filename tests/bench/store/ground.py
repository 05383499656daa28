"""The processes that the store's sections share: NATS, an instant provider, and engines."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from engine.traffic.embedded.server import EmbeddedNats
from tests.bench import engines
from tests.bench.asker import Answered, Asker, LoadFailed, Question
from tests.bench.children import ChildFailed, module, running
from tests.bench.engines import FAST_MODEL, Engine, Environment, Variant
from tests.bench.nats_wire import NatsWire

INCOMING, OUTGOING = "bench.in.>", "bench.out.>"
VISIT_LIMIT_S = 300.0


@dataclass(frozen=True)
class Ground:
    """A running NATS server and provider, and a sender."""

    environment: Environment
    asker: Asker

    def engine(self, variant: Variant) -> AbstractAsyncContextManager[Engine]:
        """Run an engine as users do, until the block ends."""
        return engines.engine(self.environment, variant)

    async def visit(
        self, engine: Engine, channels: Sequence[str], *, at_once: int = 1
    ) -> list[float]:
        """Send a message in each channel and return the microseconds until each was answered.

        Raise ChildFailed.
        """
        asker, contestant = self.asker, engine.by_request(FAST_MODEL)
        question, left = Question(contestant.subject, contestant.body), deque(channels)
        taken_us: list[float] = []

        def ask() -> None:
            if left:
                asker.ask(question, left.popleft(), on_answered)

        def on_answered(answered: Answered) -> None:
            if answered.busy:
                asker.trouble = "the engine said busy, though few messages are in flight"
            taken_us.append((answered.now - answered.asked) * 1e6)
            ask()

        for _ in range(at_once):
            ask()
        try:
            await asker.until(
                lambda: len(taken_us) == len(channels), VISIT_LIMIT_S, "the channels answered"
            )
        except LoadFailed as exc:
            raise ChildFailed(f"{engine.name}: {exc}") from exc
        return taken_us


@asynccontextmanager
async def ground(folder: Path) -> AsyncIterator[Ground]:
    nats = EmbeddedNats(folder / "nats", port=0, bot_publish=[INCOMING], bot_subscribe=[OUTGOING])
    command = module("fake_provider")
    async with nats, running("fake provider", command) as provider:
        provider_url = orjson.loads(provider.ready)["url"]
        environment = Environment(folder, nats.url, nats.engine_password, provider_url)
        asker = Asker()
        asker.wire = await NatsWire.connect(nats.url, asker.on_msg)
        asker.wire.subscribe(OUTGOING)
        await asker.wire.flush()
        yield Ground(environment, asker)
