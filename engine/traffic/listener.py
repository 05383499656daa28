"""The listener, which decodes each NATS message and tells it to its channel's actor."""

from __future__ import annotations

import logging
from dataclasses import astuple
from typing import Protocol

from nats.aio.msg import Msg

from engine.commands.observer import TurnObserver
from engine.commands.outcomes import Failure
from engine.commands.request import Request
from engine.commands.validation import new_request_id
from engine.config.settings import ConversationSettings, SubjectSettings
from engine.errors import Busy, EngineError, InvalidRequest, TooManyCopies
from engine.traffic import wire
from engine.traffic.endpoint_stats import EndpointStats

log = logging.getLogger("rosey_llm.listener")
# A request with this header only asks whether an engine listens; `rosey-llm chat` sends it.
PROBE_HEADER = "Rosey-Probe"


class Receiver(Protocol):
    def tell(self, request: Request) -> None: ...


class Listener:
    """A handler of NATS messages. It runs in the read loop: it decodes, tells, and returns.

    received: messages so far. A probe is not counted; only its sender gets the answer.
    """

    def __init__(
        self,
        supervisor: Receiver,
        sink: EndpointStats,
        observer: TurnObserver,
        subjects: SubjectSettings,
        settings: ConversationSettings,
    ) -> None:
        self._supervisor = supervisor
        self._sink = sink
        self._observer = observer
        self._settings = settings
        self.received = 0
        self._own_subjects = frozenset(astuple(subjects))
        self._decoders = {subjects.chat: wire.decode_chat, subjects.request: wire.decode_request}

    def set_limits(self, settings: ConversationSettings) -> None:
        """Use these settings from the next message on."""
        self._settings = settings

    @property
    def subjects(self) -> list[str]:
        return list(self._decoders)

    def on_msg(self, msg: Msg) -> None:
        """Handle a message. Never raises: an exception would end the read loop silently."""
        try:
            self._tell(msg)
        except Exception:
            log.exception(
                "Cannot handle a message on %(subject)s; report this defect.",
                {"event": "message.crashed", "subject": msg.subject},
            )

    def _tell(self, msg: Msg) -> None:
        # An answer on one of our own subjects would be sent twice, or be taken for a command.
        replies = (msg.reply,) if msg.reply and msg.reply not in self._own_subjects else ()
        if msg.headers and PROBE_HEADER in msg.headers and replies:
            text = f"An engine is here. It carries out no message with the header {PROBE_HEADER}."
            failure = Failure("", new_request_id(), InvalidRequest.code, text)
            self._sink.refuse_privately(failure, replies)
            return
        self.received += 1
        request = self._decoders[msg.subject](msg.data, msg.headers, replies, self._settings)
        self._sink.received(msg.subject, request.channel_id, request.request_id)
        if isinstance(request, Failure):
            self._observer.refused(request.channel_id, request.request_id, request.code)
            self._sink.refuse(request, replies)
            return
        try:
            self._supervisor.tell(request)
        except EngineError as exc:
            failure = Failure(
                request.channel_id,
                request.request_id,
                exc.code,
                str(exc),
                exc.retry_after_s,
                exc.ahead if isinstance(exc, Busy) else None,
            )
            is_private = isinstance(exc, TooManyCopies)
            refuse = self._sink.refuse_privately if is_private else self._sink.refuse
            refuse(failure, replies)
