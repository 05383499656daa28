"""Everything that can be seen of an engine, at one moment: what metrics and views are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.actors.channel import ChannelStatus
from engine.actors.supervisor import SupervisorStatistics
from engine.clock import now_ms
from engine.engine import Engine
from engine.monitoring.counts import Counts
from providers.chain.counters import CallCounters
from providers.chain.link import LinkStatistics
from storage import statistics
from storage.errors import StorageUnavailable
from storage.statistics import StoreStatistics
from storage.writer.database import Database

if TYPE_CHECKING:  # an engine in process has no use for NATS
    from engine.traffic.connection import ConnectionStatistics
    from engine.traffic.publisher import PublisherStatistics

STORE_LIMIT_S = 1.0
STORE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class TrafficStatistics:
    """What went over NATS; `received` counts the messages on the input subjects."""

    connection: ConnectionStatistics
    publisher: PublisherStatistics
    received: int


@dataclass(frozen=True, slots=True)
class Observation:
    """`figures` is None where the database does not answer in time, `traffic` without NATS.

    `channels` are those that work, wait or rest, and some idle ones, each with the seconds since it
    was last spoken in. `failing` says why the database cannot be written.
    """

    at_ms: int
    counts: Counts
    supervisor: SupervisorStatistics
    channels: list[tuple[ChannelStatus, float]]
    links: Mapping[str, LinkStatistics]
    counters: Mapping[str, CallCounters]
    figures: StoreStatistics | None
    failing: str | None
    traffic: TrafficStatistics | None


async def observe(
    engine: Engine,
    counts: Counts,
    traffic: Callable[[], TrafficStatistics] | None = None,
    *,
    idle: int = 0,
) -> Observation:
    """Look at `engine`, also at as many `idle` channels; within a second, whatever the disk does.

    The store is asked first. Its answer comes in the order of the commits, and what an earlier
    commit brought has been counted by then; all the rest is read in the same step of the loop. So
    the numbers of both sides fit together.
    """
    store = await _figures(engine.database)
    return Observation(
        at_ms=now_ms(),
        counts=counts,
        supervisor=engine.supervisor.statistics(),
        channels=list(engine.supervisor.channels(idle)),
        links=engine.chain.statistics(),
        counters=engine.chain.totals(),
        figures=store,
        failing=engine.database.failing,
        traffic=traffic() if traffic is not None else None,
    )


async def _figures(database: Database) -> StoreStatistics | None:
    try:
        async with asyncio.timeout(STORE_LIMIT_S):
            for _ in range(STORE_ATTEMPTS):
                try:
                    return await database.write(statistics.read)
                except StorageUnavailable:
                    # A neighbour's write failed; where the disk is full, reading goes on.
                    await asyncio.sleep(0)
    except TimeoutError:
        pass
    return None
