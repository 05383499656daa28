"""What a chaos run plays: who speaks, to which model, and by which configuration."""

from __future__ import annotations

import random
from typing import Any

from engine.traffic.embedded.server import EmbeddedNats
from tests.chaos.bots import Bot, RequestLog
from tests.chaos.llm import MODEL, FlakyLLMServer
from tests.chaos.retelling import MAX_CONTEXT_MESSAGES
from tests.chaos.witness import Ledger

CHANNELS = [*(f"#room-{number}" for number in range(28)), "a.b *>", "Grüße 🐿"]


class Scene:
    """Bots in many channels. rest_s: how long an engine is left in peace at most.

    records_charges: whether the engines record what they charge (`charges.py`).
    """

    rest_s = 0.0
    records_charges = False

    def __init__(self, rng: random.Random, bots: int, channels: int) -> None:
        self._rng = rng
        self._bots = bots
        self._channels = CHANNELS[-channels:]
        self.model = self._new_model(random.Random(rng.random()))

    def _new_model(self, rng: random.Random) -> FlakyLLMServer:
        return FlakyLLMServer(rng)

    def bots(self, ledger: Ledger, request_log: RequestLog) -> list[Bot]:
        """Return those who speak; none is connected."""
        return [
            Bot(
                f"bot{number}",
                self._channels,
                ledger,
                request_log,
                random.Random(self._rng.random()),
            )
            for number in range(self._bots)
        ]

    def config(self, nats: EmbeddedNats) -> dict[str, Any]:
        """Return the configuration, as tables by their names in TOML."""
        return {
            "default_provider": "openai",
            "fallback_providers": [],
            "service": {"max_context_messages": MAX_CONTEXT_MESSAGES, "drain_timeout_s": 10.0},
            "conversation": {"stream_interval_ms": 4},
            # Small mailboxes, so that some commands are refused and have to be sent again.
            "channels": {
                "passivate_after_s": 0.3,
                "snapshot_interval_s": 0.1,
                "mailbox_limit": 4,
            },
            "nats": {"url": nats.url, "user": nats.engine_user, "password": nats.engine_password},
            "models": {"allow": ["openai/*"]},
            "permissions": {"model": "*"},
            "http": {"port": 0},
            "log": {"level": "warning"},
            "providers.openai": {
                "base_url": f"{self.model.url}/v1",
                "api_key": "sk-chaos",
                "default_model": MODEL,
                "max_retries": 0,
                "timeout": 1.0,
                "total_timeout": 5.0,
            },
        }
