"""The listener, which decodes each NATS message and tells it to its channel's actor."""

from __future__ import annotations

import logging
from dataclasses import astuple, replace
from typing import Protocol

from nats.aio.msg import Msg

from engine.client.subjects import PROBE_HEADER
from engine.commands import refusals
from engine.commands.observer import TurnObserver
from engine.commands.outcomes import Failure
from engine.commands.records import Chat
from engine.commands.request import Request
from engine.commands.validation import new_request_id
from engine.config.channel_rules import NO_RULE, ChannelRule
from engine.config.settings import ChannelSettings, ConversationSettings, NatsSettings
from engine.errors import InvalidRequest, RoomError
from engine.texts import message_faults
from engine.texts.texts import Texts
from engine.traffic import wire
from engine.traffic.endpoint_stats import EndpointStats
from engine.traffic.reply_rules import ReplyRules
from engine.traffic.wire import Refused

log = logging.getLogger("rosey_llm.listener")


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
        texts: Texts,
        nats: NatsSettings,
        settings: ConversationSettings,
        channels: ChannelSettings,
    ) -> None:
        self._supervisor = supervisor
        self._sink = sink
        self._observer = observer
        self._texts = texts
        self._settings = settings
        self._channels = channels
        self._chat_subject = nats.subjects.chat
        self.received = 0
        subjects = nats.subjects
        self._rules = ReplyRules(astuple(subjects), nats.reply_to_allow)
        self._decoders = {subjects.chat: wire.decode_chat, subjects.request: wire.decode_request}

    def set_limits(self, settings: ConversationSettings, channels: ChannelSettings) -> None:
        """Use these settings from the next message on."""
        self._settings, self._channels = settings, channels

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
        replies = self._rules.of_message(msg.reply)
        if msg.headers and PROBE_HEADER in msg.headers and replies:
            text = self._texts.say("", message_faults.PROBE(header=PROBE_HEADER))
            failure = Failure("", new_request_id(), InvalidRequest.code, text)
            self._sink.refuse_privately(failure, replies)
            return
        self.received += 1
        decode = self._decoders[msg.subject]
        request = decode(msg.data, msg.headers, replies, self._settings, self._rules)
        if isinstance(request, Refused):
            self._refuse_unread(msg.subject, request)
            return
        self._sink.received(msg.subject, request.channel_id, request.request_id)
        if (rule := self._channels.rule_of(request.channel_id)) is not NO_RULE:
            request = _by_rule(request, rule, is_chat=msg.subject == self._chat_subject)
        try:
            self._supervisor.tell(request)
        except RoomError as exc:
            refusals.send(self._sink, request, exc, self._texts)

    def _refuse_unread(self, subject: str, refused: Refused) -> None:
        channel_id, request_id, code = refused.channel_id, refused.request_id, InvalidRequest.code
        self._sink.received(subject, channel_id, request_id)
        self._observer.refused(channel_id, request_id, code)
        error = self._texts.say(channel_id, refused.said)
        failure = Failure(
            channel_id, request_id, code, error, username=refused.username, action=refused.action
        )
        if refused.is_bot:  # as in `refusals.py`: nobody may answer it
            self._sink.refuse_privately(failure._replace(error=""), refused.replies)
        else:
            self._sink.refuse(failure, refused.replies)


def _by_rule(request: Request, rule: ChannelRule, *, is_chat: bool) -> Request:
    """Return the request as its channel's rule wants it. A `!chat` cannot choose to stream."""
    command = request.command
    if is_chat and isinstance(command, Chat) and rule.stream is not None:
        command = replace(command, stream=rule.stream)
    return request._replace(command=command, status=request.status or bool(rule.status))
