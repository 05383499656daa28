"""The outcome of a command (answer or failure), its JSON, and the interface that publishes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from engine.errors import LLMError
from providers.base import Usage
from storage.outbox import OutcomeKind, Settled

Action = Literal["chat", "complete", "reset", "persona", "model", "usage", "stop", "help"]
StatusState = Literal["queued", "started", "ended"]


class Answer(NamedTuple):
    """The fields of a message on `llm.response`. Those after `username` are set by a model only.

    parts: the content in parts, for rooms that take no longer ones, if the channel's rule wants
        them; joined they are the content.
    """

    channel_id: str
    request_id: str
    action: Action
    content: str
    username: str | None = None
    persona: str | None = None
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    latency_ms: int | None = None
    parts: tuple[str, ...] | None = None

    @property
    def kind(self) -> OutcomeKind:
        return "response"

    def encode(self) -> bytes:
        """The JSON of `llm.response`; keys without a value are left out."""
        body: dict[str, Any] = {
            "type": "llm_response",
            "channel_id": self.channel_id,
            "content": self.content,
            "request_id": self.request_id,
            "username": self.username,
            "action": self.action,
            "persona": self.persona,
            "provider": self.provider,
            "model": self.model,
            "finish_reason": self.finish_reason,
            "latency_ms": self.latency_ms,
            "parts": self.parts,
        }
        if self.usage:
            body["usage"] = {
                "prompt_tokens": self.usage.prompt_tokens,
                "completion_tokens": self.usage.completion_tokens,
                "total_tokens": self.usage.total_tokens,
            }
            if self.usage.cached_tokens:
                body["usage"]["cached_tokens"] = self.usage.cached_tokens
            if self.usage.cost_usd is not None:
                body["usage"]["cost_usd"] = self.usage.cost_usd
        return _compact(body)


class Failure(NamedTuple):
    """The fields of a message on `llm.error`.

    username, action: the request's; None where they are not known, or were erased.
    partial: what had been written of an answer that was stopped.
    limit, scope: which limit of `[limits]` or budget of `[budgets]` is used up, and whose it is.
    resets_at: when a budget starts again, "2027-01-01T00:00:00Z".
    """

    channel_id: str
    request_id: str
    code: str
    error: str
    retry_after_s: float | None = None
    ahead: int | None = None
    username: str | None = None
    action: Action | None = None
    partial: str | None = None
    limit: str | None = None
    scope: str | None = None
    resets_at: str | None = None

    @property
    def kind(self) -> OutcomeKind:
        return "error"

    def as_error(self) -> LLMError:
        """Return the exception for a caller that waits for an answer."""
        return LLMError(
            self.code,
            self.error,
            retry_after_s=self.retry_after_s,
            username=self.username,
            action=self.action,
            partial=self.partial,
            ahead=self.ahead,
            limit=self.limit,
            scope=self.scope,
        )

    def encode(self) -> bytes:
        """The JSON of `llm.error`; keys without a value are left out."""
        return _compact(
            {
                "type": "llm_error",
                "channel_id": self.channel_id,
                "error": self.error,
                "code": self.code,
                "request_id": self.request_id,
                "retry_after_s": self.retry_after_s,
                "ahead": self.ahead,
                "username": self.username,
                "action": self.action,
                "partial": self.partial,
                "limit": self.limit,
                "scope": self.scope,
                "resets_at": self.resets_at,
            }
        )


@dataclass(slots=True)  # frozen, it takes much longer to make
class Delta:
    """The fields of a message on `llm.stream`.

    correlation_id: that of the request's first sender.
    done: whether this is the last one, which has no text: no more comes. It does not say that the
        answer is kept.
    """

    channel_id: str
    request_id: str
    index: int
    delta: str
    username: str
    action: Action
    done: bool = False
    correlation_id: str | None = None

    def encode(self) -> bytes:
        """The JSON of `llm.stream`; only the last one has `done`."""
        body: dict[str, Any] = {
            "type": "llm_delta",
            "channel_id": self.channel_id,
            "request_id": self.request_id,
            "index": self.index,
            "delta": self.delta,
            "username": self.username,
            "action": self.action,
        }
        if self.done:
            body["done"] = True
        if self.correlation_id is not None:
            body["correlation_id"] = self.correlation_id
        return orjson.dumps(body)


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """The fields of a message on `llm.status`.

    ahead: the number of commands before it in its channel; set with "queued".
    """

    channel_id: str
    request_id: str
    username: str
    state: StatusState
    ahead: int | None = None

    def encode(self) -> bytes:
        """The JSON of `llm.status`; keys without a value are left out."""
        return _compact(
            {
                "type": "llm_status",
                "channel_id": self.channel_id,
                "request_id": self.request_id,
                "username": self.username,
                "state": self.state,
                "ahead": self.ahead,
            }
        )


class OutcomeSink(Protocol):
    """A publisher of outcomes: to NATS, or to a caller in the same process.

    Every method returns at once and never raises.
    """

    def publish(self, outcome: Settled) -> None:
        """Send a committed outcome, in the order of the calls, and mark it as published.

        Only the store makes `Settled`, and only after the commit: nothing else can be published.
        """

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Report that a message was not accepted; nothing was stored."""

    def inform(self, answer: Answer, replies: tuple[str, ...]) -> None:
        """Send an answer that changes nothing and is not stored."""

    def refuse_privately(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Do `refuse` on the reply subjects only."""

    def refuse_copy(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Report to the reply subjects of a copy that it came in vain; the request still waits."""

    def delta(self, delta: Delta) -> bool:
        """Send a piece of an unfinished answer; return False if it cannot be sent now."""


def decode(body: bytes) -> Answer | Failure:
    """Return the record that `encode` was called on, perhaps by a newer version."""
    values = orjson.loads(body)
    if values.pop("type") == "llm_error":
        return Failure(**_known(values, Failure))
    if usage := values.pop("usage", None):
        values["usage"] = Usage(
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage.get("cached_tokens", 0),
            usage.get("cost_usd"),
        )
    if (parts := values.get("parts")) is not None:
        values["parts"] = tuple(parts)
    return Answer(**_known(values, Answer))


def _known(values: dict[str, Any], record: type[Answer | Failure]) -> dict[str, Any]:
    if values.keys() <= set(record._fields):
        return values
    return {name: value for name, value in values.items() if name in record._fields}


def _compact(body: dict[str, Any]) -> bytes:
    kept = orjson.dumps({key: value for key, value in body.items() if value is not None})
    # orjson's result keeps a buffer of 4 KiB while it exists; a copy does not.
    return bytes(memoryview(kept))
