"""Maps a provider's HTTP errors to our error classes, with texts that contain no secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus

from providers.errors import (
    ParameterRefused,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    WrongAddress,
)
from providers.http.error_report import ErrorReport, as_dict, decode_body
from providers.http.error_rules import Verdict, judge
from providers.http.redaction import cleaned
from providers.http.retry_after import reset_of_limits_s, retry_after_s

__all__ = ["as_dict", "decode_body", "read_failure"]

_PHRASES = {524: "A Timeout Occurred", 529: "Overloaded"}
_TEMPLATE_ERROR = "Jinja Exception"


def read_failure(
    label: str,
    body: object,
    *,
    status: int | None = None,
    headers: Mapping[str, str],
    secrets: Sequence[str] = (),
    path: str = "",
    model: str = "",
) -> ProviderError:
    """Return the error for a provider's error body: its class, message and `retry_after_s`.

    body: the JSON of an error, in any shape, or its text.
    status: that of the reply; None if the error came in a reply with status 200.
    secrets: strings that must not be in the message.
    path, model: of the request, if known; they help to explain what was not found.
    """
    report = ErrorReport.of(body)
    status = status or report.status
    told_s = retry_after_s(headers, report)
    verdict = judge(report, status, model=model, wait_s=told_s)
    sentence = _sentence(label, report, status, secrets) + _hint(verdict, report, path)
    error = _made(verdict, sentence, status)
    if told_s is None and isinstance(error, RateLimited):
        told_s = reset_of_limits_s(headers)
    error.retry_after_s = told_s
    error.maybe_too_long = verdict.maybe_too_long
    return error


def _made(verdict: Verdict, sentence: str, status: int | None) -> ProviderError:
    if issubclass(verdict.kind, ParameterRefused):
        return verdict.kind(sentence, status=status, field=verdict.field)
    return verdict.kind(sentence, status=status)


def _sentence(label: str, report: ErrorReport, status: int | None, secrets: Sequence[str]) -> str:
    sentence = " ".join(filter(None, [f"{label} API error:", _phrase(status)]))
    # Before the exception stands the template's source, which may be long.
    text = report.text[max(report.text.rfind(_TEMPLATE_ERROR), 0) :]
    if told := cleaned(text, secrets):
        sentence += f": {told}" if status else f" {told}"
    parameters = (part.get("param") for part in report.objects)
    parameter = next(filter(None, parameters), None)
    if isinstance(parameter, str) and parameter not in sentence:
        sentence += f" (parameter {cleaned(parameter, secrets)[:60]})"
    return sentence


def _hint(verdict: Verdict, report: ErrorReport, path: str) -> str:
    """Return what to do about an error whose own words do not say it."""
    if verdict.kind is WrongAddress:
        complete = "/v1" in path + report.text or path.startswith("/api/")
        return " (check base_url)" if complete else " (check base_url; did you forget /v1?)"
    if verdict.kind is ProviderUnavailable and "loading model" in report.text.lower():
        return " (it is starting; try again in a moment)"
    return ""


def _phrase(status: int | None) -> str:
    if status is None:
        return ""
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return f"{status} {_PHRASES.get(status, '')}".rstrip()
