"""One consistent reading of all an engine's numbers, for the metrics and for `rosey-llm top`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.actors.channel_status import ChannelStatus
from engine.actors.supervisor import SupervisorStatistics
from engine.clock import now_ms
from engine.engine import Engine
from engine.monitoring.counts import Counts
from engine.operations.backups import Backups
from providers.chain.counters import CallCounters
from providers.chain.link import LinkStatistics
from storage import statistics
from storage.errors import StorageUnavailable
from storage.statistics import StoreStatistics
from storage.writer.database import Database

if TYPE_CHECKING:  # an in-process engine does not import NATS
    from engine.traffic.connection import ConnectionStatistics
    from engine.traffic.publisher import PublisherStatistics

STORE_LIMIT_S = 1.0
STORE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class TrafficStatistics:
    """The numbers of the NATS traffic; `received` counts messages on the input subjects."""

    connection: ConnectionStatistics
    publisher: PublisherStatistics
    received: int


@dataclass(frozen=True, slots=True)
class Observation:
    """An engine's numbers at one moment.

    at_ms: the moment, in wall-clock milliseconds.
    channels: (status, seconds since the last use) of all channels that work, wait or are suspended,
        and of some idle ones.
    links: the current state of each provider, by its name.
    counters: the totals of each provider, by its name.
    figures: the store's numbers; None if the database did not answer in time.
    failing: why the database cannot be written; None if it can.
    retention_held: why nothing is erased by age; "" if nothing is wrong.
    budgets: the used part of each budget of all, of a persona or of a provider, by its key.
    backups: the service's own copies of the database; None if it is in memory.
    traffic: None without NATS.
    """

    at_ms: int
    counts: Counts
    supervisor: SupervisorStatistics
    channels: list[tuple[ChannelStatus, float]]
    links: Mapping[str, LinkStatistics]
    counters: Mapping[str, CallCounters]
    figures: StoreStatistics | None
    failing: str | None
    retention_held: str
    backups: Backups | None
    budgets: Mapping[str, float]
    traffic: TrafficStatistics | None


async def observe(
    engine: Engine,
    counts: Counts,
    traffic: Callable[[], TrafficStatistics] | None = None,
    *,
    idle: int = 0,
) -> Observation:
    """Return the engine's numbers, with up to `idle` idle channels, within about a second.

    The store is read first. Its reply comes after those of all earlier commits, whose effects are
    counted by then, and everything else is read in the same step of the event loop. So the numbers
    of the store and of the engine are consistent.
    """
    store = await _read_store(engine.database)
    return Observation(
        at_ms=now_ms(),
        counts=counts,
        supervisor=engine.supervisor.statistics(),
        channels=list(engine.supervisor.channels(idle)),
        links=engine.provider_statistics(),
        counters=engine.chain.totals(),
        figures=store,
        failing=engine.database.failing,
        retention_held=engine.retention.held,
        backups=engine.backups,
        budgets=engine.budgets.ratios(),
        traffic=traffic() if traffic is not None else None,
    )


async def _read_store(database: Database) -> StoreStatistics | None:
    try:
        async with asyncio.timeout(STORE_LIMIT_S):
            for _ in range(STORE_ATTEMPTS):
                try:
                    return await database.write(statistics.read)
                except StorageUnavailable:
                    # Another write of the same commit failed; reading works on a full disk, too.
                    await asyncio.sleep(0)
    except TimeoutError:
        pass
    return None
