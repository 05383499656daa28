"""The connection to NATS and what goes over it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counter, counters, gauge
from engine.monitoring.observation import Observation


def families(observation: Observation) -> Iterator[Metric]:
    """Nothing for an engine in process."""
    if observation.traffic is None:
        return
    connection, publisher = observation.traffic.connection, observation.traffic.publisher
    yield gauge("nats_connected", "1 while there is a connection.", float(connection.connected))
    yield counter("nats_losses", "Connections that broke.", connection.losses)
    yield counter("nats_reconnects", "Connections made again.", connection.reconnects)
    yield counter(
        "nats_dropped", "Messages that the NATS client dropped; must stay 0.", connection.dropped
    )
    yield counter(
        "nats_received", "Messages on our two input subjects.", observation.traffic.received
    )
    yield counters(
        "nats_sent",
        "Messages that NATS has taken, by what they carry.",
        ["kind"],
        [
            (["outcome"], publisher.outcomes),
            (["refusal"], publisher.refusals),
            (["delta"], publisher.deltas),
        ],
    )
    yield counter(
        "deltas_dropped", "Pieces of answers lost with a connection.", publisher.deltas_dropped
    )
    yield gauge("nats_unsent", "Messages that wait to be sent.", publisher.waiting)
