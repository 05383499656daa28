"""The open requests of a client, and what comes in for them."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Mapping
from itertools import count
from typing import Any

import orjson

from engine.client.open_request import OpenRequest
from engine.client.outcome_stream import OutcomeStream, SeenOutcomes
from engine.client.subjects import Subjects
from engine.commands.outcomes import Answer, Failure, decode
from engine.errors import LLMError


class OpenRequests:
    """The open requests of a client, and its streams of outcomes. It receives for its link.

    Messages for other bots are dropped unread: each of ours has our mark in its request id. For ids
    that a caller gave there is a needle each.
    """

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._mark = secrets.token_hex(8)
        self._numbers = count(1)
        self._by_token: dict[str, OpenRequest] = {}
        self._by_key: dict[tuple[str, str], list[OpenRequest]] = {}
        self._needles: dict[str, bytes] = {}
        self._streams: weakref.WeakSet[OutcomeStream] = weakref.WeakSet()
        self._seen = SeenOutcomes()

    def open(
        self, subject: str, channel_id: str, fields: Mapping[str, Any], request_id: str | None
    ) -> OpenRequest:
        """Return a new request; `close` must follow."""
        token = str(next(self._numbers))
        own_id = request_id or f"{self._mark}-{token}"
        body = orjson.dumps({**fields, "channel_id": channel_id, "request_id": own_id})
        request = OpenRequest(subject, (channel_id, own_id), body, token)
        self._by_token[token] = request
        self._by_key.setdefault(request.key, []).append(request)
        if request_id:
            self._needles[token] = orjson.dumps(request_id)[1:-1]
        return request

    def close(self, request: OpenRequest) -> None:
        """Take nothing more for this request."""
        self._by_token.pop(request.token, None)
        self._needles.pop(request.token, None)
        rest = [each for each in self._by_key.get(request.key, ()) if each is not request]
        if rest:
            self._by_key[request.key] = rest
        else:
            self._by_key.pop(request.key, None)

    def stream(self) -> OutcomeStream:
        """Return a stream of all outcomes from now on."""
        stream = OutcomeStream()
        self._streams.add(stream)
        return stream

    def end(self) -> None:
        for request in self._by_token.values():
            request.fail(LLMError("closed", "The client was closed before an answer came."))
        for stream in self._streams:
            stream.end()

    def heard(self, subject: str, data: bytes) -> None:
        is_ours = self._mark.encode() in data or any(
            needle in data for needle in self._needles.values()
        )
        if subject == self._subjects.stream:
            if is_ours:
                self._grow(data)
        elif subject in self._subjects.shared and (is_ours or self._streams):
            outcome = _outcome(data)
            if outcome is None:
                return
            for request in self._by_key.get((outcome.channel_id, outcome.request_id), ()):
                request.settle(outcome)
            if self._streams and self._seen.is_new(outcome, data):
                for stream in self._streams:
                    stream.add(outcome)

    def replied(self, token: str, data: bytes) -> None:
        request, outcome = self._by_token.get(token), _outcome(data)
        if request is not None and outcome is not None:
            request.settle(outcome)

    def unheard(self, token: str) -> None:
        if request := self._by_token.get(token):
            request.is_heard = False
            request.woken.set()

    def denied(self, subject: str) -> None:
        for request in self._by_token.values():
            if request.subject == subject:
                request.fail(not_permitted("publish", subject))

    def connected(self) -> None:
        for request in self._by_token.values():
            request.woken.set()

    def _grow(self, data: bytes) -> None:
        match _object(data):
            case {
                "channel_id": str(channel_id),
                "request_id": str(request_id),
                "index": int(index),
                "delta": str(delta),
            }:
                for request in self._by_key.get((channel_id, request_id), ()):
                    request.grow(index, delta)


def not_permitted(verb: str, subject: str) -> LLMError:
    return LLMError(
        "not_permitted",
        f"NATS does not let this login {verb} to {subject}. Give it the permissions of a bot in"
        " docs/security.md.",
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return values if isinstance(values, dict) else {}


def _outcome(data: bytes) -> Answer | Failure | None:
    """Return the outcome; None if it is none."""
    try:
        return decode(data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
