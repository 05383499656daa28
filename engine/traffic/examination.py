"""Examines a NATS server for `rosey-llm check`: whether an engine with this login could work there.

What the login may not ask is not examined. Nothing is published on the subjects of bots.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.client.address import without_login
from engine.client.connect_problems import most_telling
from engine.client.credentials import LoginError
from engine.client.nats_client import NatsClient
from engine.client.subjects import PROBE_HEADER
from engine.config.settings import NatsSettings
from engine.traffic.connect_errors import ConnectError
from engine.traffic.connection import CONNECT_TIMEOUT_S, PAYLOAD_RESERVE_BYTES
from engine.traffic.engine_info import EngineInfo
from engine.traffic.login import client_options
from engine.traffic.micro_service import NAME
from engine.traffic.permissions import refusal

ASK_S = 1.0
QUIET_S = 0.3
# The fields beside an answer's text: ids and names, most of them limited by `validation`.
ENVELOPE_BYTES = 8192
TODO = "Give the login the permissions in docs/security.md."


@dataclass(slots=True)
class NatsFindings:
    """What is wrong with a server, and what could not be examined; sentences for people.

    running: the service with our own database, if it answers there.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    running: str = ""


@dataclass(frozen=True, slots=True)
class OwnService:
    """The service with our own database. runs: now. mark: the one that it sends."""

    runs: bool
    mark: str


async def examine(settings: NatsSettings, max_reply_bytes: int, own: OwnService) -> NatsFindings:
    """Examine the server of [nats] url. Raises ConnectError if it cannot be used.

    max_reply_bytes: the longest answer. own: the service that is not another one.
    """
    async with _visitor(settings) as visitor:
        refused = await visitor.refused_inputs()
        engines, streams = await asyncio.gather(visitor.engines(own), visitor.streams())
        too_small = visitor.too_small(max_reply_bytes)
    problems = [*refused, *engines.problems, *streams, *too_small]
    return NatsFindings(problems, engines.notes, engines.running)


@asynccontextmanager
async def _visitor(settings: NatsSettings) -> AsyncIterator[_Visitor]:
    client, errors = NatsClient(), []

    async def note(exc: Exception) -> None:
        errors.append(exc)

    try:
        try:
            options = client_options(settings, settings.url)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.connect(**options, error_cb=note)
        except LoginError as exc:
            raise ConnectError(settings.url, exc) from exc
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            reasons = [exc, *filter(None, (client.last_error,)), *errors]
            raise ConnectError(settings.url, most_telling(reasons)) from exc
        yield _Visitor(client, settings, errors)
    finally:
        # If the server was killed, nats-py may wait for ever for its socket to close.
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.close()


class _Visitor:
    """A client with the engine's login. errors: what the server refused, in order."""

    def __init__(self, client: Client, settings: NatsSettings, errors: list[Exception]) -> None:
        self._client = client
        self._subjects = settings.subjects
        self._inputs = [settings.subjects.chat, settings.subjects.request]
        self._url = without_login(settings.url)
        self._errors = errors

    async def refused_inputs(self) -> list[str]:
        """Return a sentence if the login may not subscribe to an input."""
        for subject in self._inputs:
            subscription = await self._client.subscribe(subject, cb=_ignore)
            await self._settle()
            await subscription.unsubscribe()
        refused = [subject for subject in self._inputs if self._is_refused("subscription", subject)]
        if not refused:
            return []
        subjects = " and ".join(refused)
        return [f"the login may not subscribe to {subjects}, so no message is heard there. {TODO}"]

    async def engines(self, own: OwnService) -> NatsFindings:
        """Find another engine on the same subjects."""
        found = [each for each in await self._service_infos() if each.hears(self._inputs)]
        ours = [each for each in found if each.database == own.mark]
        others = [each for each in found if each not in ours]
        unmarked = [each for each in others if not each.database]
        if own.runs and not ours and unmarked:
            ours = unmarked[:1]  # it was started by a version that sends no mark
            others.remove(ours[0])
        leaving = [each for each in others if each.state == "draining"]
        notes = [f"Another engine is still ending at {self._url}: {each}." for each in leaving]
        if others := [each for each in others if each not in leaving]:
            return NatsFindings([self._another(others)], notes)
        if found or own.runs:
            return NatsFindings(notes=notes, running=", ".join(map(str, ours)))
        match await self._probe():
            case True:
                return NatsFindings([self._another([EngineInfo(frozenset(self._inputs))])])
            case None:
                whether = f"Whether another engine uses {self._url} is not known"
                return NatsFindings(notes=[f"{whether}: the login may not ask."])
        return NatsFindings()

    async def streams(self) -> list[str]:
        """Return a sentence for each JetStream stream that takes and confirms messages of bots."""
        taken: dict[str, list[str]] = {}
        for subject in self._inputs:
            for stream in await self._streams_of(subject):
                taken.setdefault(stream, []).append(subject)
        return [
            f"the JetStream stream {stream} captures {' and '.join(subjects)}: a bot that requests"
            " gets the stream's confirmation instead of the answer. Remove the subject from the"
            " stream, or set no_ack on it."
            for stream, subjects in taken.items()
        ]

    def too_small(self, max_reply_bytes: int) -> list[str]:
        """Return a sentence if the longest answer does not fit into a message."""
        limit, beside = self._client.max_payload, ENVELOPE_BYTES + PAYLOAD_RESERVE_BYTES
        if limit >= max_reply_bytes + beside:
            return []
        most = limit - beside
        lower = f", or [conversation] max_reply_bytes to {most} or less" if most > 0 else ""
        return [
            f"its max_payload of {limit} bytes is too small for an answer of {max_reply_bytes}"
            f" bytes. Set max_payload to {max_reply_bytes + beside} or more{lower}."
        ]

    def _another(self, others: list[EngineInfo]) -> str:
        subjects = " and ".join(self._inputs)
        return (
            f"another engine listens on {subjects}: {'; '.join(map(str, others))}. `rosey-llm run`"
            " would not start, because both would answer each message. Stop it, or set other"
            " [nats.subjects]."
        )

    async def _service_infos(self) -> list[EngineInfo]:
        """Return the answers of all engines to `$SRV.INFO`; [] also if the login may not ask."""
        answers: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, cb=answers.put)
        await self._client.publish(f"$SRV.INFO.{NAME}", b"", reply=inbox)
        await self._settle()
        infos: list[EngineInfo] = []
        limit_s = ASK_S
        with contextlib.suppress(TimeoutError):
            while not self._is_refused("publish", "$SRV.") and not self._may_hear_nothing(inbox):
                async with asyncio.timeout(limit_s):
                    msg = await answers.get()
                if not msg.data:  # the server's word that no engine listens
                    break
                infos += filter(None, [EngineInfo.read(msg.data)])
                limit_s = QUIET_S
        await subscription.unsubscribe()
        return infos

    async def _probe(self) -> bool | None:
        """Return whether an engine answers on our subjects; None if the login may not ask."""
        try:
            reply = await self._client.request(
                self._subjects.request, b"{}", timeout=ASK_S, headers={PROBE_HEADER: "1"}
            )
        except nats.errors.NoRespondersError:
            return False
        except nats.errors.Error:
            refused = self._is_refused("publish", self._subjects.request)
            return None if refused or self._may_hear_nothing("_INBOX.") else False
        return _decoded(reply.data).get("type") == "llm_error"

    async def _streams_of(self, subject: str) -> list[str]:
        names = (await self._api("NAMES", {"subject": subject})).get("streams")
        return [
            name
            for name in (names if isinstance(names, list) else [])
            if not await self._confirms_nothing(name)
        ]

    async def _confirms_nothing(self, stream: str) -> bool:
        config = (await self._api(f"INFO.{stream}", {})).get("config")
        return isinstance(config, dict) and config.get("no_ack") is True

    async def _api(self, what: str, body: dict[str, str]) -> dict[str, object]:
        """Ask JetStream; {} if there is none, or if the login may not ask."""
        subject = f"$JS.API.STREAM.{what}"
        try:
            reply = await self._client.request(subject, orjson.dumps(body), timeout=ASK_S)
        except nats.errors.Error:
            return {}
        return _decoded(reply.data)

    async def _settle(self) -> None:
        """Return once the server has read all, so that its refusals are known."""
        await asyncio.sleep(0)  # nats-py writes the PING of a flush before what is still queued
        with contextlib.suppress(nats.errors.Error):
            await self._client.flush(timeout=int(CONNECT_TIMEOUT_S))

    def _may_hear_nothing(self, inbox: str) -> bool:
        return self._is_refused("subscription", inbox)

    def _is_refused(self, verb: str, subject: str) -> bool:
        """Return whether a subject that begins so was refused."""
        found = [refusal(exc) for exc in self._errors]
        return any(each[0] == verb and each[1].startswith(subject.lower()) for each in found)


async def _ignore(_: Msg) -> None:
    """Take a message of a bot that arrives while the login is tried."""


def _decoded(data: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
