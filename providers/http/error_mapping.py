"""Maps a provider's HTTP errors to our error classes, with texts that contain no secrets."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson

from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)

_BY_NAME: dict[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "payment_required": QuotaExhausted,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "slow_down": RateLimited,
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "invalid_api_key": AuthenticationFailed,
    "authentication": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "permission_denied": AuthenticationFailed,
    "model_not_found": ModelNotFound,
    "not_found": ModelNotFound,
    "content_policy_violation": BadAnswer,
    "refusal": BadAnswer,
    "timeout": ProviderTimeout,
    "server": ProviderUnavailable,
    "server_error": ProviderUnavailable,
    "unavailable_error": ProviderUnavailable,
    "overloaded_error": ProviderUnavailable,
    "provider_overloaded": ProviderUnavailable,
    "provider_unavailable": ProviderUnavailable,
    "server_is_overloaded": ProviderUnavailable,
}
_BY_STATUS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: ProviderTimeout,
    409: ProviderUnavailable,  # a conflict with another call, which may be gone the next time
    425: ProviderUnavailable,
    429: RateLimited,
    504: ProviderTimeout,
    524: ProviderTimeout,
}
_PHRASES = {524: "A Timeout Occurred", 529: "Overloaded"}
_CONTEXT = re.compile(
    r"context (length|window|size)|maximum context|prompt is (too )?long", re.IGNORECASE
)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,100}\b(not found|does not exist)|not a valid model|invalid model name",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"\s*<|.*<(!doctype|html|body)\b", re.IGNORECASE | re.DOTALL)
_KEYS = re.compile(r"\b(?:sk|gsk|hf|xai)[-_][\w*.\-]{4,}")
_BEARER = re.compile(r"\bBearer\s+\S+", re.IGNORECASE)
_LOCAL_PATH = re.compile(
    r"(?<![\w/.])(?:file:/*|~|[A-Za-z]:)?[/\\](?![/\\])[\w.\-]+(?:[/\\][\w.\-]+)+"
)
_TEXT_CHARACTERS = 200


def read_failure(
    label: str,
    body: object,
    *,
    status: int | None = None,
    headers: Mapping[str, str],
    secrets: Sequence[str] = (),
) -> ProviderError:
    """Return the error for a provider's error body: its class, message and `retry_after_s`.

    body: the JSON of an error, in any shape, or its text.
    status: that of the reply; None if the error came in a reply with status 200.
    secrets: strings that must not be in the message.
    """
    problem = _problem(body)
    status = status or _status_of(problem)
    text = _text_of(problem)
    cls = _class_of(status, _names_of(problem), text)
    sentence = " ".join(filter(None, [f"{label} API error:", _phrase(status)]))
    if cleaned := _cleaned(text, secrets):
        sentence += f": {cleaned}" if status else f" {cleaned}"
    parameter = problem.get("param")
    if isinstance(parameter, str) and parameter not in sentence:
        sentence += f" (parameter {_cleaned(parameter, secrets)[:60]})"
    if cls is ProviderUnavailable and "loading model" in text.lower():
        sentence += " (it is starting; try again in a moment)"
    return cls(sentence, status=status, retry_after_s=_retry_after_s(headers, problem))


def as_dict(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else {}."""
    return value if isinstance(value, dict) else {}


def decode_body(body: bytes) -> object:
    """Return a body's JSON, or its text if it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _problem(body: object) -> dict[str, Any]:
    """Return the object that describes the error; providers put it in different places."""
    if isinstance(body, dict):
        error = body.get("error") or body.get("detail") or body
        return error if isinstance(error, dict) else {**body, "message": error}
    return {"message": body}


def _text_of(problem: Mapping[str, Any]) -> str:
    message = problem.get("message") or problem.get("detail")
    if isinstance(message, list):  # FastAPI: one object for each wrong field
        parts = [as_dict(part) for part in message]
        return "; ".join(f"{part.get('msg', '')} {part.get('loc', '')}" for part in parts)
    raw = as_dict(problem.get("metadata")).get("raw")
    texts = [text for text in (message, raw) if isinstance(text, str) and text]
    return ": ".join(texts)


def _names_of(problem: Mapping[str, Any]) -> list[str]:
    """Return the error's names, the most specific first."""
    metadata = as_dict(problem.get("metadata"))
    names = [metadata.get("error_type"), *(problem.get(k) for k in ("error_type", "code", "type"))]
    return [name.lower() for name in names if isinstance(name, str)]


def _status_of(problem: Mapping[str, Any]) -> int | None:
    for number in (problem.get("http_status"), problem.get("code")):
        with suppress(TypeError, ValueError, OverflowError):
            if number is not None and 400 <= int(number) <= 599:
                return int(number)
    return None


def _class_of(status: int | None, names: list[str], text: str) -> type[ProviderError]:
    for name in names:
        if name in _BY_NAME:
            return _BY_NAME[name]
    if status in (None, 400, 413, 422, 500) and _CONTEXT.search(text):
        return ContextTooLong
    if status in (None, 400, 422) and _NO_MODEL.search(text):
        return ModelNotFound
    if status is None:
        return BadAnswer
    return _BY_STATUS.get(status, ProviderUnavailable if status >= 500 else BadAnswer)


def _phrase(status: int | None) -> str:
    if status is None:
        return ""
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return f"{status} {_PHRASES.get(status, '')}".rstrip()


def _cleaned(text: str, secrets: Sequence[str]) -> str:
    """Return a provider's text as one short line without keys and local paths; "" for HTML."""
    if _MARKUP.match(text):
        return ""
    text = text[: 100 * _TEXT_CHARACTERS]
    for secret in secrets:
        # Shorter ones are placeholders ("x"); to replace them would spoil ordinary words.
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = _BEARER.sub("Bearer ***", _KEYS.sub("***", text))
    text = _LOCAL_PATH.sub("(path)", text)
    text = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 3] + "..."


def _retry_after_s(headers: Mapping[str, str], problem: Mapping[str, Any]) -> float | None:
    """Return the seconds that the provider asks to wait; None if it gives no valid time."""
    metadata = as_dict(problem.get("metadata"))
    milliseconds = _number(headers.get("retry-after-ms"))
    candidates = [
        None if milliseconds is None else milliseconds / 1000,
        _number(headers.get("retry-after")),
        _seconds_until(headers.get("retry-after")),
        _number(as_dict(problem.get("availability")).get("retry_after")),
        _number(problem.get("retry_after")),
        _number(metadata.get("retry_after")),
        _number(metadata.get("retry_after_seconds")),
    ]
    return next((seconds for seconds in candidates if seconds is not None), None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_until(date: str | None) -> float | None:
    try:
        then = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return then - time.time() if then > time.time() else None
