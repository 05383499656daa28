"""Other engines on the same subjects, which an engine looks for before it takes messages.

Two of them would both answer each message, with the same indexes of deltas.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable

import orjson
from nats.aio.client import NO_RESPONDERS_STATUS
from nats.aio.msg import Msg
from nats.js.api import Header

from engine.client.address import without_login
from engine.client.subjects import PROBE_HEADER
from engine.config.settings import SubjectSettings
from engine.errors import SecondEngine, StartLater
from engine.traffic.connection import NatsConnection, NotConnected
from engine.traffic.engine_info import EngineInfo, decide
from engine.traffic.micro_service import NAME, PREFIX, MicroService

log = logging.getLogger("rosey_llm.nats")
# A client that hears everything and says nothing makes each start wait so long.
FIRST_ANSWER_S = 3.0
NEXT_ANSWER_S = 1.0
POLL_S = 0.1
ANSWERS_LIMIT = 64
LATE_LIMIT = 16


class OtherEngines:
    """The search for other engines, by `$SRV.INFO`; if that is not permitted, by a probe.

    service: this engine, which answers before the search begins. wait_s: how long an engine that
    is ending is waited for.
    """

    def __init__(
        self,
        connection: NatsConnection,
        service: MicroService,
        subjects: SubjectSettings,
        wait_s: float,
    ) -> None:
        self._connection = connection
        self._service = service
        self._inputs = [subjects.chat, subjects.request]
        self._wait_s = wait_s
        self._reply = connection.add_answers(self._on_answer)
        self._answers: asyncio.Queue[Msg] | None = None
        self._used_probe = False
        self._late: set[str] = set()

    async def require_none(self) -> None:
        """Return once no other engine hears our subjects. Raise SecondEngine or StartLater."""
        clock = asyncio.get_running_loop().time
        deadline_s: float | None = None
        own = self._service.info
        while True:
            await self._connection.connected.wait()
            with contextlib.suppress(NotConnected):
                others = [each for each in await self._found() if each.hears(self._inputs)]
                match decide(own, others):
                    case "alone":
                        # Else it runs only once `confirm` has looked: of two on two servers of a
                        # cluster, one would end for the "running" one, which then ends, too.
                        if not self._connection.is_clustered:
                            self._service.state = "running"
                        return
                    case "second":
                        raise SecondEngine(self._second(others))
                    case "later":
                        raise StartLater(self._later(others))
                if deadline_s is None:
                    deadline_s = clock() + self._wait_s
                    log.warning(
                        "Waiting up to %(wait_s)g s: %(error)s",
                        {
                            "event": "start.postponed",
                            "wait_s": self._wait_s,
                            "error": self._later(others),
                        },
                    )
                elif clock() > deadline_s:
                    raise StartLater(self._later(others))
            await asyncio.sleep(POLL_S)

    async def confirm(self) -> None:
        """Look again once this engine hears its inputs. Raise StartLater.

        The probe does not find an engine that was just starting, and the servers of a cluster need
        a moment to learn of a new engine. Of two that see each other now, the later one ends.
        """
        if not (self._used_probe or self._connection.is_clustered):
            return
        own = self._service.info
        with contextlib.suppress(NotConnected):
            others = [each for each in await self._found() if each.hears(self._inputs)]
            if any(each.is_before(own) for each in others):
                raise StartLater(self._later(others))
            if others:
                log.error(
                    "It started at the same time: %(found)s",
                    {"event": "engines.second", "found": self._second(others)},
                )

    async def watch(self) -> None:
        """Look again after each loss of the connection, and tell of another engine.

        One that connected first, after an outage of NATS, saw none and began. One that was started
        to be a second one is meant.
        """
        while True:
            await self._connection.returned.wait()
            self._connection.returned.clear()
            with contextlib.suppress(NotConnected):
                others = [each for each in await self._found() if not each.second]
                if decide(self._service.info, others) == "second":
                    log.error(
                        "It started while NATS was away: %(found)s",
                        {"event": "engines.second", "found": self._second(others)},
                    )

    async def _found(self) -> list[EngineInfo]:
        answers = await self._asked(f"{PREFIX}INFO.{NAME}")
        found = [each for each in map(EngineInfo.read, answers or ()) if each is not None]
        if found or (answers is not None and not self._connection.services_refused):
            return found
        return await self._probed()

    async def _probed(self) -> list[EngineInfo]:
        header, unknown = {PROBE_HEADER: "1"}, False
        for subject in self._inputs:
            answers = await self._asked(subject, b"{}", header)
            if any(map(_is_of_an_engine, answers or ())):
                return [EngineInfo(frozenset([subject]))]
            unknown |= answers is None
        if unknown and not self._used_probe:
            log.warning(
                "Whether another engine listens on the same subjects is not known: NATS does not"
                " let this one ask. If there is one, both answer each message. Give the login the"
                " permissions in docs/security.md.",
                {"event": "engines.unknown"},
            )
        self._used_probe = True
        return []

    async def _asked(
        self, subject: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> list[bytes] | None:
        """Return the answers of all others; None if NATS does not permit the question.

        Raises NotConnected.
        """
        answers, losses = asyncio.Queue[Msg](ANSWERS_LIMIT), self._connection.losses
        self._answers = answers
        try:
            if not await self._connection.ask(subject, body, self._reply, headers):
                return None
            found = [each async for each in _until_quiet(answers)]
            if losses != self._connection.losses:
                raise NotConnected("The connection broke before all answers were there.")
            return found
        finally:
            self._answers = None

    def _on_answer(self, msg: Msg) -> None:
        """Take an answer. It runs in the read loop: it returns at once and never raises."""
        if self._answers is not None:
            with contextlib.suppress(asyncio.QueueFull):
                self._answers.put_nowait(msg)
        elif (late := EngineInfo.read(msg.data)) is not None:
            self._note_late(late)

    def _note_late(self, other: EngineInfo) -> None:
        """Tell of an engine that stood still while it was asked."""
        is_second = decide(self._service.info, [other]) == "second"
        if is_second and other.id not in self._late and len(self._late) < LATE_LIMIT:
            self._late.add(other.id)
            log.error(
                "It stood still while this one started: %(found)s",
                {"event": "engines.second", "found": self._second([other])},
            )

    def _second(self, others: Iterable[EngineInfo]) -> str:
        running = "; ".join(str(each) for each in others if each.state == "running")
        return (
            f"another engine listens on {' and '.join(self._inputs)} at"
            f" {without_login(self._connection.url)}: {running}. Both would answer each message."
            " Stop it, or set other [nats.subjects]. If two are meant: `rosey-llm run --second`."
        )

    def _later(self, others: Iterable[EngineInfo]) -> str:
        doing = {"starting": "is starting", "draining": "is still ending", "running": "runs"}
        found = "; ".join(f"{each} {doing[each.state]}" for each in others)
        return (
            f"another engine uses {' and '.join(self._inputs)} at"
            f" {without_login(self._connection.url)}: {found}. Try again when it has ended."
        )


async def _until_quiet(answers: asyncio.Queue[Msg]) -> AsyncIterator[bytes]:
    limit_s = FIRST_ANSWER_S
    for _ in range(ANSWERS_LIMIT):
        try:
            async with asyncio.timeout(limit_s):
                msg = await answers.get()
        except TimeoutError:
            return
        if (msg.headers or {}).get(Header.STATUS) == NO_RESPONDERS_STATUS:
            return
        yield msg.data
        limit_s = NEXT_ANSWER_S


def _is_of_an_engine(answer: bytes) -> bool:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("type") == "llm_error"
