"""The errors of the embedded NATS server.

EmbeddedNatsError
├─ NatsServerMissing   no program, or none of a fitting version
├─ NatsServerFailed    it did not start, ended, or did not become ready
├─ PortTaken           another NATS server has its port
└─ StoreInUse          another server uses its folder (store_lock.py)
"""

from __future__ import annotations


class EmbeddedNatsError(Exception):
    """The embedded NATS server cannot run. The text is for the operator."""


class NatsServerMissing(EmbeddedNatsError):
    """No nats-server program of a fitting version is installed."""


class NatsServerFailed(EmbeddedNatsError):
    """The server did not start, ended, or did not become ready; the text ends with its log."""


class PortTaken(EmbeddedNatsError):
    """Another NATS server has the port; the text has the configuration that uses it."""
