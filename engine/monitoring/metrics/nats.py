"""The metrics of the NATS connection and its messages."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counter, counters, gauge
from engine.monitoring.observation import Observation


def families(observation: Observation) -> Iterator[Metric]:
    """Yield the families; none for an in-process engine."""
    if observation.traffic is None:
        return
    connection, publisher = observation.traffic.connection, observation.traffic.publisher
    yield gauge("nats_connected", "1 while connected, otherwise 0.", float(connection.connected))
    yield counter("nats_losses", "Connections that were lost.", connection.losses)
    yield counter("nats_reconnects", "Connections that were restored.", connection.reconnects)
    yield counter(
        "nats_dropped", "Messages that the NATS client dropped; must stay 0.", connection.dropped
    )
    yield counter(
        "nats_received",
        "Messages received on the two input subjects.",
        observation.traffic.received,
    )
    yield counters(
        "nats_sent",
        "Messages sent to NATS, by kind.",
        ["kind"],
        [
            (["outcome"], publisher.outcomes),
            (["refusal"], publisher.refusals),
            (["delta"], publisher.deltas),
            (["status"], publisher.statuses),
        ],
    )
    yield counter(
        "deltas_dropped",
        "Pieces of streamed answers that were lost with the connection.",
        publisher.deltas_dropped,
    )
    yield gauge("nats_unsent", "Messages waiting to be sent.", publisher.waiting)
