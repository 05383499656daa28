"""The health of a service: whether each of its parts works, and what to do if one does not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.engine import Engine
from engine.monitoring.cached import Cached
from providers.chain.link import LinkStatistics
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
        database = self._held() or await self._database.get()
        parts = {"database": database, "service": self._service()}
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

    def _held(self) -> HealthPart | None:
        """Return what is wrong if turns wait for the disk, which may still take a small write."""
        held = self._engine.supervisor.held
        if not held:
            return None
        return HealthPart(
            False,
            f"{held.reason}. Turns held until {held.path} can be written: {len(held)}. New"
            " messages get busy. Free some space on its disk.",
        )

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
        if (failing := self._engine.database.failing) is not None:
            return HealthPart(
                False, f"Cannot write {path}: {failing}. Free some space on its disk."
            )
        return HealthPart(True, str(path or "in memory"))

    def _providers(self) -> HealthPart:
        """Return whether channels without a rule get answers; all providers are named."""
        chain, links = self._engine.chain, self._engine.provider_statistics()
        wrong = [_misconfigured(name, link) for name, link in links.items() if link.misconfigured]
        resting = [_resting(name, link) for name, link in links.items() if _is_resting(link)]
        usable = [n for n, link in links.items() if not (link.misconfigured or _is_resting(link))]
        first = links[chain.primary.name]
        usual = {provider.name for provider in chain.providers}
        if usual.isdisjoint(usable) or (first.misconfigured and chain.fallback_on == "passing"):
            return HealthPart(False, " ".join([*wrong, *resting]))
        return HealthPart(True, " ".join([", ".join(usable), *(f"({each})" for each in wrong)]))


def _is_resting(link: LinkStatistics) -> bool:
    return link.circuit.state == "open"


def _resting(name: str, link: LinkStatistics) -> str:
    return (
        f"{name} failed too often and gets no calls for {math.ceil(link.circuit.wait_s)} s more. "
        "Run `rosey-llm check` to see why."
    )


def _misconfigured(name: str, link: LinkStatistics) -> str:
    found = link.misconfigured
    return f"{name} {found.problem}. {found.remedy}." if found else ""
