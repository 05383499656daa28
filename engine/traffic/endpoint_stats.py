"""Counts of messages received on each subject, and of how they ended, for the micro service."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.commands.outcomes import Answer, Failure, decode
from engine.config.settings import SubjectSettings
from engine.traffic.publisher import Publisher
from storage.outbox import Settled


@dataclass(slots=True)
class Endpoint:
    """An input subject and its counts.

    requests: messages received. ended: those with an outcome. errors: those that failed.
    processing_ns: sum of the times from message to outcome, in nanoseconds, waiting included.
    """

    name: str
    subject: str
    requests: int = 0
    errors: int = 0
    ended: int = 0
    processing_ns: int = 0
    last_failure: Failure | Settled | None = None

    @property
    def average_ns(self) -> int:
        return self.processing_ns // self.ended if self.ended else 0

    @property
    def last_code(self) -> str:
        """The code of the latest failure; "" if there was none."""
        failure = self.last_failure
        if isinstance(failure, Settled):
            outcome = decode(failure.body)
            return outcome.code if isinstance(outcome, Failure) else ""
        return failure.code if failure else ""


class EndpointStats:
    """An outcome sink that counts each outcome for the subject of its request, and passes it on."""

    def __init__(self, sink: Publisher, subjects: SubjectSettings) -> None:
        self._sink = sink
        self.all = [Endpoint("chat", subjects.chat), Endpoint("request", subjects.request)]
        self._by_subject = {each.subject: each for each in self.all}
        self._pending: dict[tuple[str, str], tuple[Endpoint, int]] = {}
        self.delta = sink.delta
        self.refuse_copy = sink.refuse_privately  # not counted: the request itself still waits

    def received(self, subject: str, channel_id: str, request_id: str) -> None:
        """Count a message on `subject`. Its outcome is recognized by the two ids."""
        endpoint = self._by_subject[subject]
        endpoint.requests += 1
        self._pending.setdefault((channel_id, request_id), (endpoint, time.perf_counter_ns()))

    def publish(self, outcome: Settled) -> None:
        failed = outcome.kind == "error"
        self._count_outcome(outcome.channel, outcome.request_id, outcome if failed else None)
        self._sink.publish(outcome)

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        self._count_outcome(failure.channel_id, failure.request_id, failure)
        self._sink.refuse(failure, replies)

    def refuse_privately(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Forget the message: who is not heard does not count, and neither does a probe."""
        self._pending.pop((failure.channel_id, failure.request_id), None)
        self._sink.refuse_privately(failure, replies)

    def inform(self, answer: Answer, replies: tuple[str, ...]) -> None:
        self._count_outcome(answer.channel_id, answer.request_id, None)
        self._sink.inform(answer, replies)

    def _count_outcome(
        self, channel: str, request_id: str, failure: Failure | Settled | None
    ) -> None:
        # The subject of a request that was accepted before a restart is not known.
        endpoint, received_ns = self._pending.pop((channel, request_id), (None, 0))
        if endpoint is None:
            return
        endpoint.ended += 1
        endpoint.processing_ns += time.perf_counter_ns() - received_ns
        if failure is not None:
            endpoint.errors += 1
            endpoint.last_failure = failure
