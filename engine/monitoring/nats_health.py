"""The health of the connection to NATS."""

from __future__ import annotations

from engine.client.address import without_login
from engine.monitoring.health import HealthPart
from engine.traffic.connect_errors import ConnectError
from engine.traffic.connection import NatsConnection


def nats_health(connection: NatsConnection) -> HealthPart:
    """Return whether the engine hears and is heard, and what to do if not."""
    url = without_login(connection.url)
    if connection.connected.is_set():
        return HealthPart(connection.refused is None, connection.refused or url)
    if connection.login_refused is not None:
        return HealthPart(False, str(ConnectError(url, connection.login_refused)))
    return HealthPart(False, f"NATS at {url} is not there. Start the server, or set [nats] url.")
