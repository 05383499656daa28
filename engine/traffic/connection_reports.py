"""What the log says of the connection to NATS: each loss once, and each return."""

from __future__ import annotations

import logging

import nats.errors

from engine.client.address import without_login
from engine.client.connect_problems import is_refusal

log = logging.getLogger("rosey_llm.nats")


class ConnectionReports:
    """The lines about one connection, from its first attempt on."""

    def __init__(self) -> None:
        self._told_missing = False
        self._told_refusal = False

    def connected(self, url: str, losses: int) -> None:
        """Tell of a connection, if it was told that there is none."""
        if self._told_missing and not losses:
            log.warning(
                "Connected to NATS at %(url)s.",
                {"event": "nats.connected", "url": without_login(url)},
            )
        elif self._told_missing:
            log.warning(
                "Connected to NATS at %(url)s again. Messages that were sent to the engine"
                " meanwhile, or just before, may be lost; a sender that got no outcome should send"
                " its request again, with the same id.",
                {"event": "nats.reconnected", "url": without_login(url)},
            )
        self._told_missing = self._told_refusal = False

    def missing(self, url: str, exc: BaseException | None) -> None:
        """Tell of a loss once, and once more if the server then refuses the connection."""
        shown = without_login(url)
        reason = "it was lost" if exc is None else str(exc) or type(exc).__name__
        if not self._told_missing:
            log.warning(
                "No connection to NATS at %(url)s: %(error)s. Start the server, or correct [nats];"
                " the engine keeps trying.",
                {"event": "nats.unreachable", "url": shown, "error": reason},
            )
        elif is_refusal(exc) and not self._told_refusal:
            log.error(
                "Cannot connect to NATS at %(url)s: %(error)s. Correct [nats], or the server;"
                " the engine keeps trying.",
                {"event": "nats.refused", "url": shown, "error": reason},
            )
        self._told_missing = True
        self._told_refusal = self._told_refusal or is_refusal(exc)

    def dropped(self, exc: nats.errors.SlowConsumerError) -> None:
        log.error(
            "nats-py dropped a message on %(subject)s: its queue was full. Send the message again.",
            {"event": "nats.message_dropped", "subject": exc.subject},
        )
