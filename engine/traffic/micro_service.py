"""The engine as a NATS micro service: it answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`.

The rules are in nats-io/nats-architecture-and-design, ADR-32. The listener handles the service's
endpoints; this module only reports them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats.errors
import orjson
from nats.aio.msg import Msg

from engine.config.settings import SubjectSettings
from engine.traffic.connection import NatsConnection, NotConnected
from engine.traffic.endpoint_stats import Endpoint, EndpointStats
from engine.traffic.engine_info import EngineInfo, State
from engine.version import WIRE_VERSION, our_version

log = logging.getLogger("rosey_llm.nats")
NAME = "rosey-llm"
PREFIX = "$SRV."
VERBS = ("PING", "INFO", "STATS")
DESCRIPTION = "The conversation engine behind chat bots: one actor per channel."
# The subjects that a bot may publish to, as NATS permissions.
QUESTIONS = [f"{PREFIX}{verb}{more}" for verb in VERBS for more in ("", f".{NAME}", f".{NAME}.*")]
ANSWERS_LIMIT = 100


class MicroService:
    """A handler of `$SRV` requests. It runs in the read loop: a task sends each answer.

    name: tells this engine from others. data: returns the engine's counts, for `$SRV.STATS`.
    database: the engine's database, in a form that tells it from others (`database_mark`).
    second: whether it was started to be one of two.
    state: of the engine's life, for other engines on the same subjects; set by its owner.
    """

    def __init__(
        self,
        connection: NatsConnection,
        endpoints: EndpointStats,
        subjects: SubjectSettings,
        name: str,
        data: Callable[[], Mapping[str, Any]],
        database: str = "",
        *,
        second: bool = False,
    ) -> None:
        self._connection = connection
        self._endpoint_stats = endpoints
        self._own_subjects = frozenset(astuple(subjects))
        self._data = data
        self.state: State = "starting"
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._id = secrets.token_hex(11)
        self._metadata = {
            "name": name,
            "wire": WIRE_VERSION,
            "started": self._started,
            "host": socket.gethostname(),
            "process": str(os.getpid()),
            **({"database": database} if database else {}),
            **({"second": "true"} if second else {}),
        }
        self._answers = {"PING": self._ping, "INFO": self._info, "STATS": self._stats}
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def subjects(self) -> list[str]:
        """The subjects it answers: for all services, for all engines, and for this one only."""
        kind, alone = f".{NAME}", f".{NAME}.{self._id}"
        return [f"{PREFIX}{verb}{more}" for verb in VERBS for more in ("", kind, alone)]

    @property
    def info(self) -> EngineInfo:
        """This engine, as the others see it."""
        found = EngineInfo.read(orjson.dumps(self._info()))
        assert found is not None  # noqa: S101 -- it is our own answer
        return found

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "id": self._id,
            "version": our_version(),
            "metadata": self._metadata | {"state": self.state},
        }

    def on_msg(self, msg: Msg) -> None:
        """Answer a request. Never raises: an exception would end the read loop silently."""
        # A sender must not make the engine write this to its own subjects.
        if not msg.reply or msg.reply in self._own_subjects or len(self._sending) >= ANSWERS_LIMIT:
            return
        try:
            body = orjson.dumps(self._answers[msg.subject.split(".")[1]]())
        except Exception:
            log.exception(
                "Cannot answer a message on %(subject)s; report this defect.",
                {"event": "status.crashed", "subject": msg.subject},
            )
            return
        sending = asyncio.create_task(self._send(msg.reply, body))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, reply: str, body: bytes) -> None:
        try:
            await self._connection.publish(reply, body)
        except (NotConnected, nats.errors.Error) as exc:
            log.debug(
                "Cannot send an answer to %(subject).100r: %(error)s",
                {"event": "status.send_failed", "subject": reply, "error": exc},
            )

    def _ping(self) -> dict[str, Any]:
        return {"type": "io.nats.micro.v1.ping_response", **self._identity}

    def _info(self) -> dict[str, Any]:
        return {
            "type": "io.nats.micro.v1.info_response",
            **self._identity,
            "description": DESCRIPTION,
            "endpoints": [
                _endpoint_info(each) | {"metadata": {}} for each in self._endpoint_stats.all
            ],
        }

    def _stats(self) -> dict[str, Any]:
        data = self._data()
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self._identity,
            "started": self._started,
            "endpoints": [
                _endpoint_statistics(each) | {"data": data} for each in self._endpoint_stats.all
            ],
        }


def database_mark(database: Path) -> str:
    """Return a mark that only engines with the same database have; it does not tell the path."""
    place = f"{socket.gethostname()}:{database.resolve()}"
    return hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]


def _endpoint_info(endpoint: Endpoint) -> dict[str, Any]:
    # No queue group: it would share a channel's messages between two engines.
    return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": ""}


def _endpoint_statistics(endpoint: Endpoint) -> dict[str, Any]:
    return _endpoint_info(endpoint) | {
        "num_requests": endpoint.requests,
        "num_errors": endpoint.errors,
        "last_error": endpoint.last_code,
        "processing_time": endpoint.processing_ns,
        "average_processing_time": endpoint.average_ns,
    }
