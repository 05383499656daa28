"""The health of a service: whether each of its parts works, and what to do if one does not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.engine import Engine
from engine.monitoring.cached import Cached
from storage import statistics
from storage.errors import StorageUnavailable

Stage = Literal["starting", "running", "draining"]
WRITE_LIMIT_S = 2.0
WRITE_KEPT_S = 1.0


@dataclass(frozen=True, slots=True)
class HealthPart:
    """The state of one part; `detail` is for people and says what to do if it is not ok."""

    ok: bool
    detail: str


class Health:
    """The health of one engine.

    stage: the stage of the service's life; set by the owner.
    nats: returns the state of the connection; None for an engine without NATS.
    """

    def __init__(self, engine: Engine, nats: Callable[[], HealthPart] | None) -> None:
        self.stage: Stage = "starting"
        self._engine = engine
        self._nats = nats
        # Only a write shows whether the database can be written, so the result is kept a while.
        self._database = Cached(self._try_database, WRITE_KEPT_S)

    async def ready(self) -> dict[str, Any]:
        """Return {"ready": ..., "parts": {part: {"ok": ..., "detail": ...}}} within about 2 s."""
        parts = {"database": await self._database.get(), "service": self._service()}
        if self._nats is not None:
            parts["nats"] = self._nats()
        parts["providers"] = self._providers()
        return {
            "ready": all(part.ok for part in parts.values()),
            "parts": {name: {"ok": part.ok, "detail": part.detail} for name, part in parts.items()},
        }

    def _service(self) -> HealthPart:
        match self.stage:
            case "starting":
                return HealthPart(
                    False, "It is starting. Wait, or see its log for what it waits for."
                )
            case "draining":
                return HealthPart(False, "It is stopping and takes no more messages.")
        return HealthPart(True, "It takes messages.")

    async def _try_database(self) -> HealthPart:
        path, todo = self._engine.database.path, "Check the disk and [storage] path."
        try:
            async with asyncio.timeout(WRITE_LIMIT_S):
                await self._engine.database.write(statistics.touch)
        except StorageUnavailable as exc:
            return HealthPart(
                False, f"{exc} {todo}" if str(exc).endswith(".") else f"{exc}. {todo}"
            )
        except TimeoutError:
            return HealthPart(
                False,
                f"Cannot write {path} within {WRITE_LIMIT_S:g} s: another process has locked it, "
                f"or the disk does not answer. {todo}",
            )
        return HealthPart(True, str(path or "in memory"))

    def _providers(self) -> HealthPart:
        links = self._engine.chain.statistics()
        resting = {
            name: link.circuit.wait_s
            for name, link in links.items()
            if link.circuit.state == "open"
        }
        if len(resting) < len(links):
            return HealthPart(True, ", ".join(name for name in links if name not in resting))
        rests = ", ".join(f"{name} for {math.ceil(s)} s more" for name, s in resting.items())
        return HealthPart(
            False,
            f"All failed too often and get no calls: {rests}. Run `rosey-llm check` to see why.",
        )
