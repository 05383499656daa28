"""The subjects on which messages come in, and what became of those that came."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.commands.outcomes import Failure, decode
from engine.config.settings import SubjectSettings
from engine.traffic.publisher import Publisher
from storage.mailboxes import Settled


@dataclass(slots=True)
class Endpoint:
    """`processing_ns`: from each message to its outcome, waiting included, all together."""

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
        """The code of the newest failure; "" where there was none."""
        failure = self.last_failure
        if isinstance(failure, Settled):
            outcome = decode(failure.body)
            return outcome.code if isinstance(outcome, Failure) else ""
        return failure.code if failure else ""


class EndpointStats:
    """An outlet before the outlet: what leaves through it is counted where it came in."""

    def __init__(self, sink: Publisher, subjects: SubjectSettings) -> None:
        self._sink = sink
        self.all = [Endpoint("chat", subjects.chat), Endpoint("request", subjects.request)]
        self._by_subject = {each.subject: each for each in self.all}
        self._under_way: dict[tuple[str, str], tuple[Endpoint, int]] = {}
        self.delta = sink.delta
        self.refuse_privately = sink.refuse_privately  # of what is not counted

    def received(self, subject: str, channel_id: str, request_id: str) -> None:
        """A message came in; whatever becomes of it leaves under these two ids."""
        endpoint = self._by_subject[subject]
        endpoint.requests += 1
        self._under_way.setdefault((channel_id, request_id), (endpoint, time.perf_counter_ns()))

    def publish(self, outcome: Settled) -> None:
        failed = outcome.kind == "error"
        self._ended(outcome.channel, outcome.request_id, outcome if failed else None)
        self._sink.publish(outcome)

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        self._ended(failure.channel_id, failure.request_id, failure)
        self._sink.refuse(failure, replies)

    def _ended(self, channel: str, request_id: str, failure: Failure | Settled | None) -> None:
        # What was accepted before a restart came in on nobody knows which of them.
        endpoint, came_ns = self._under_way.pop((channel, request_id), (None, 0))
        if endpoint is None:
            return
        endpoint.ended += 1
        endpoint.processing_ns += time.perf_counter_ns() - came_ns
        if failure is not None:
            endpoint.errors += 1
            endpoint.last_failure = failure
