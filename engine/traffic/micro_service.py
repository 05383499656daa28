"""The engine as a NATS micro service: it answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`.

By the rules of nats-io/nats-architecture-and-design, ADR-32. The subjects of the service are those
that the listener has; here they are only told of.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import nats.errors
import orjson
from nats.aio.msg import Msg

from engine.config.settings import SubjectSettings
from engine.traffic.connection import NatsConnection, NotConnected
from engine.traffic.endpoint_stats import Endpoint, EndpointStats
from engine.version import our_version

log = logging.getLogger("rosey_llm.nats")
NAME = "rosey-llm"
PREFIX = "$SRV."
VERBS = ("PING", "INFO", "STATS")
DESCRIPTION = "The conversation engine behind chat bots: one actor per channel."
# What anybody may ask for, in the words of a server's permissions.
QUESTIONS = [f"{PREFIX}{verb}{more}" for verb in VERBS for more in ("", f".{NAME}", f".{NAME}.*")]
ANSWERS_LIMIT = 100


class MicroService:
    """Runs inside NATS's read loop: an answer is made at once and sent from a task.

    name: how this engine is called, where there are several. data: what the engine counts.
    """

    def __init__(
        self,
        connection: NatsConnection,
        endpoints: EndpointStats,
        subjects: SubjectSettings,
        name: str,
        data: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._connection = connection
        self._endpoint_stats = endpoints
        self._own_subjects = frozenset(astuple(subjects))
        self._data = data
        self._started = datetime.now(UTC)
        self._identity = {
            "name": NAME,
            "id": secrets.token_hex(11),
            "version": our_version(),
            "metadata": {"name": name},
        }
        self._answers = {"PING": self._ping, "INFO": self._info, "STATS": self._stats}
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def subjects(self) -> list[str]:
        """What it answers: to all services, to those of its kind, and to it alone."""
        kind, alone = f".{NAME}", f".{NAME}.{self._identity['id']}"
        return [f"{PREFIX}{verb}{more}" for verb in VERBS for more in ("", kind, alone)]

    def on_msg(self, msg: Msg) -> None:
        """Never raises: an exception here would end the read loop without a word."""
        # Nobody may have us say this where answers to people are said.
        if not msg.reply or msg.reply in self._own_subjects or len(self._sending) >= ANSWERS_LIMIT:
            return
        try:
            body = orjson.dumps(self._answers[msg.subject.split(".")[1]]())
        except Exception:
            log.exception("A message on %s could not be answered.", msg.subject)
            return
        sending = asyncio.create_task(self._send(msg.reply, body))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, reply: str, body: bytes) -> None:
        try:
            await self._connection.publish(reply, body)
        except (NotConnected, nats.errors.Error) as exc:
            log.debug("NATS: %.100r got no answer: %s", reply, exc)

    def _ping(self) -> dict[str, Any]:
        return {"type": "io.nats.micro.v1.ping_response", **self._identity}

    def _info(self) -> dict[str, Any]:
        return {
            "type": "io.nats.micro.v1.info_response",
            **self._identity,
            "description": DESCRIPTION,
            "endpoints": [_named(each) | {"metadata": {}} for each in self._endpoint_stats.all],
        }

    def _stats(self) -> dict[str, Any]:
        data = self._data()
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self._identity,
            "started": self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "endpoints": [_statistics(each) | {"data": data} for each in self._endpoint_stats.all],
        }


def _named(endpoint: Endpoint) -> dict[str, Any]:
    # There is no queue group: the service runs once, or two would share out a channel's messages.
    return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": ""}


def _statistics(endpoint: Endpoint) -> dict[str, Any]:
    return _named(endpoint) | {
        "num_requests": endpoint.requests,
        "num_errors": endpoint.errors,
        "last_error": endpoint.last_code,
        "processing_time": endpoint.processing_ns,
        "average_processing_time": endpoint.average_ns,
    }
