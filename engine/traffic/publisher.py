"""The publisher, which sends outcomes to NATS in order and marks them once NATS has taken them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import nats.errors
import orjson

from engine.clock import now_ms
from engine.commands.ledger import Ledger
from engine.commands.outcomes import Answer, Delta, Failure, RequestStatus, decode
from engine.config.settings import SubjectSettings
from engine.texts import sentences
from engine.texts.texts import Texts
from engine.traffic.connection import NatsConnection, NotConnected
from storage.errors import StorageError
from storage.outbox import Settled
from storage.replies import ReplySubject, correlation_of, first_correlation

log = logging.getLogger("rosey_llm.publisher")
BATCH = 256
MOST_UNPROVEN = 256 * 1024  # bytes of deltas that nats-py may hold for a server that stands still
MOST_ADDED_BYTES = 1024  # by a correlation id; only a body near the limit is measured with it


class Parcel(NamedTuple):
    """One body for one or more subjects.

    outbox_id: of a committed outcome, else None.
    passing: what it is if it is lost with the connection; None if it is sent for sure.
    """

    subjects: tuple[str, ...]
    body: bytes
    outbox_id: int | None = None
    passing: Literal["delta", "status"] | None = None


@dataclass(frozen=True, slots=True)
class PublisherStatistics:
    """Messages taken by NATS, by kind; deltas that were dropped; parcels that wait."""

    outcomes: int
    refusals: int
    deltas: int
    statuses: int
    deltas_dropped: int
    waiting: int


class Publisher:
    """An outcome sink that sends to NATS.

    Outcomes wait here while there is no connection. If it breaks before the server has taken them,
    the same bytes are sent again, so a second copy does no harm.
    """

    def __init__(
        self,
        connection: NatsConnection,
        subjects: SubjectSettings,
        ledger: Ledger,
        texts: Texts | None = None,
    ) -> None:
        self._texts = texts or Texts()
        self._connection = connection
        self._ledger = ledger
        self._subjects = subjects
        self._parcels: deque[Parcel] = deque()
        self._waiting = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._outcomes = self._refusals = 0
        self._deltas = self._statuses = self._deltas_dropped = 0

    def statistics(self) -> PublisherStatistics:
        return PublisherStatistics(
            self._outcomes,
            self._refusals,
            self._deltas,
            self._statuses,
            self._deltas_dropped,
            len(self._parcels),
        )

    def publish(self, outcome: Settled) -> None:
        """Send a committed outcome: only the store makes `Settled`, and only after the commit."""
        subjects = self._subjects
        subject = subjects.response if outcome.kind == "response" else subjects.error
        to = _addressed(subject, outcome.replies, outcome.correlation_id)
        self._put(Parcel(to, outcome.body, outcome.id))

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        to = _addressed(self._subjects.error, replies, first_correlation(replies))
        self._put(Parcel(to, failure.encode()))

    def inform(self, answer: Answer, replies: tuple[str, ...]) -> None:
        to = _addressed(self._subjects.response, replies, first_correlation(replies))
        self._put(Parcel(to, answer.encode()))

    def refuse_privately(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Send a failure to the reply subjects only."""
        if replies := tuple(filter(None, replies)):
            self._put(Parcel(replies, failure.encode()))

    def delta(self, delta: Delta) -> bool:
        if not self._connection.connected.is_set():
            return False
        # In the same queue as the outcomes, so that it does not overtake one of its channel.
        self._put(Parcel((self._subjects.stream,), delta.encode(), passing="delta"))
        return True

    def status(self, status: RequestStatus) -> None:
        """Send where a request is, or nothing without a connection."""
        if self._connection.connected.is_set():
            self._put(Parcel((self._subjects.status,), status.encode(), passing="status"))

    async def run(self) -> None:
        """Send parcels until cancelled."""
        unproven_bytes = 0
        while True:
            await self._waiting.wait()
            await self._connection.connected.wait()
            batch = [self._parcels[i] for i in range(min(BATCH, len(self._parcels)))]
            try:
                for parcel in batch:
                    await self._send(parcel)
                unproven_bytes += sum(len(parcel.body) for parcel in batch)
                # What may be lost needs no proof that NATS took it, and its round trip costs more
                # than a delta (bench: streams). But a server that stands still gets only so much.
                if unproven_bytes > MOST_UNPROVEN or not all(each.passing for each in batch):
                    await self._connection.flush()
                    unproven_bytes = 0
            except NotConnected:
                await asyncio.sleep(0.05)
                self._drop_passing(len(batch))
            else:
                self._mark_sent(batch)

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything is sent, but no longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            log.warning(
                "%(count)d messages are not sent yet; outcomes are sent after a restart.",
                {"event": "drain.messages_left", "count": len(self._parcels)},
            )

    def _put(self, parcel: Parcel) -> None:
        self._parcels.append(parcel)
        self._waiting.set()
        self._empty.clear()

    async def _send(self, parcel: Parcel) -> None:
        limit = self._connection.max_body_bytes
        if len(parcel.body) + MOST_ADDED_BYTES > limit and _size(parcel) > limit:
            if parcel.passing:
                return  # its answer is too large as well, and that is reported
            parcel = self._size_error(parcel)
        for subject in parcel.subjects:
            try:
                await self._connection.publish(subject, _body_for(subject, parcel.body))
            except (nats.errors.BadSubjectError, nats.errors.MaxPayloadError) as exc:
                log.error(
                    "Cannot send a message to %(subject).100r: %(error)s",
                    {"event": "outcome.send_failed", "subject": subject, "error": exc},
                )

    def _size_error(self, parcel: Parcel) -> Parcel:
        """Return an error to send instead; the history has the answer."""
        size, limit = _size(parcel), self._connection.max_body_bytes
        log.error(
            "Cannot send an answer of %(bytes)d bytes: NATS takes %(limit_bytes)d. Raise the"
            " server's max_payload.",
            {"event": "outcome.too_large", "bytes": size, "limit_bytes": limit},
        )
        outcome = decode(parcel.body)
        if isinstance(outcome, Failure) and outcome.partial:
            shorter = outcome._replace(partial=None)  # that it was stopped still holds
            return Parcel(parcel.subjects, shorter.encode(), parcel.outbox_id)
        said = sentences.ANSWER_TOO_LARGE(bytes=size, limit=limit)
        failure = Failure(
            outcome.channel_id[:1024],
            outcome.request_id,
            "provider_error",
            self._texts.say(outcome.channel_id, said),
            username=outcome.username and outcome.username[:1024],
            action=outcome.action,
        )
        first, *replies = parcel.subjects
        to = _addressed(self._subjects.error, replies, correlation_of(first))
        return Parcel(to, failure.encode(), parcel.outbox_id)

    def _drop_passing(self, count: int) -> None:
        """Drop what may be lost of the batch: it may have been sent, and no index may repeat."""
        batch = [self._parcels.popleft() for _ in range(count)]
        kept = [parcel for parcel in batch if not parcel.passing]
        self._deltas_dropped += sum(parcel.passing == "delta" for parcel in batch)
        self._parcels.extendleft(reversed(kept))
        self._update_events()

    def _mark_sent(self, batch: list[Parcel]) -> None:
        for _ in batch:
            self._count(self._parcels.popleft())
        self._update_events()
        outbox_ids = [parcel.outbox_id for parcel in batch if parcel.outbox_id is not None]
        if outbox_ids:
            try:
                published = self._ledger.published(outbox_ids, now_ms=now_ms())
                published.add_done_callback(_log_failure)
            except StorageError:
                log.debug(
                    "The database closed before an outcome was marked as published.",
                    {"event": "outcome.unmarked"},
                )

    def _count(self, parcel: Parcel) -> None:
        if parcel.passing == "delta":
            self._deltas += 1
        elif parcel.passing:
            self._statuses += 1
        elif parcel.outbox_id is None:
            self._refusals += len(parcel.subjects)
        else:
            self._outcomes += len(parcel.subjects)

    def _update_events(self) -> None:
        if not self._parcels:
            self._waiting.clear()
            self._empty.set()


def _addressed(shared: str, replies: Sequence[str], correlation_id: str | None) -> tuple[str, ...]:
    """Return all subjects of an outcome, each with the correlation id that it gives back there."""
    if correlation_id is not None:
        shared = ReplySubject(shared, correlation_id)
    return (shared, *filter(None, replies))


def _body_for(subject: str, body: bytes) -> bytes:
    """Return an outcome's JSON with the correlation id of this subject, if it has one."""
    correlation_id = correlation_of(subject)
    if correlation_id is None:
        return body
    return b'%b,"correlation_id":%b}' % (body[:-1], orjson.dumps(correlation_id))


def _size(parcel: Parcel) -> int:
    return max(len(_body_for(subject, parcel.body)) for subject in parcel.subjects)


def _log_failure(done: asyncio.Future[None]) -> None:
    # Nothing awaits it: if it fails, the outcome is sent once more after a restart.
    if not done.cancelled() and (exc := done.exception()):
        log.warning(
            "Cannot mark an outcome as published: %(error)s. A restart sends it again.",
            {"event": "outcome.mark_failed", "error": exc},
        )
