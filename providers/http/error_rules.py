"""Decides which of our errors a provider's error is, by rules about its names and its words.

The rules are asked in order; the first that applies decides. Providers word the same error in many
ways, and reword it, so the rules look for the words that all of them need.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ContentWithheld,
    ContextTooLong,
    ModelNotFound,
    ParameterRefused,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    WrongAddress,
)
from providers.http.error_report import ErrorReport
from providers.http.prompt_length import request_is_too_large, speaks_of_length
from providers.http.refused_field import refused_field

Kind = type[ProviderError]

# Names that say which error it is, whatever the status.
_CERTAIN: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "insufficient_quota",
            "credit_balance_exhausted",
            "billing_hard_limit_reached",
            "billing_not_active",
            "billing_disabled",
            "budget_exceeded",
            "exceeded_current_quota_error",
            "insufficient_balance",
            "arrearage",
            "payment_required",
        ),
        QuotaExhausted,
    ),
    **dict.fromkeys(
        (
            "context_length_exceeded",
            "context_window_exceeded",
            "model_context_window_exceeded",
            "exceed_context_size_error",
            "payload_too_large",
            "request_too_large",
        ),
        ContextTooLong,
    ),
    **dict.fromkeys(
        (
            "invalid_api_key",
            "api_key_invalid",
            "api_key_expired",
            "authentication",
            "authentication_error",
            "unauthenticated",
            "permission_denied",
            "failed_precondition",  # Google: not in this country, or not without billing
            "model_terms_required",
        ),
        AuthenticationFailed,
    ),
    **dict.fromkeys(
        ("model_not_found", "invalid_model", "model_decommissioned", "deploymentnotfound"),
        ModelNotFound,
    ),
    **dict.fromkeys(
        (
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "moderation_blocked",
            "prohibited_content",
            "data_inspection_failed",
            "flagged_input",
            "refusal",
        ),
        ContentWithheld,
    ),
}
# Names that fit several errors; they count only if the words say nothing else.
_VAGUE: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "rate_limit_exceeded",
            "rate_limit_error",
            "resource_exhausted",
            "too_many_requests",
            "throttlingexception",
            "throttling",
            "slow_down",
        ),
        RateLimited,
    ),
    **dict.fromkeys(("timeout", "deadline_exceeded", "request_timeout"), ProviderTimeout),
    **dict.fromkeys(
        (
            "server",
            "server_error",
            "internal",
            "internal_server_error",
            "unavailable",
            "unavailable_error",
            "service_unavailable",
            "overloaded_error",
            "engine_overloaded_error",
            "provider_overloaded",
            "provider_unavailable",
            "server_is_overloaded",
        ),
        ProviderUnavailable,
    ),
}
_NOT_FOUND = {"not_found", "not_found_error"}
_BAD_REQUEST = {
    "invalid_request_error",
    "invalid_request",
    "bad_request",
    "badrequesterror",
    "invalid_argument",
    "validation_error",
}
_BY_STATUS: dict[int, Kind] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    408: ProviderTimeout,
    409: ProviderUnavailable,  # a conflict with another call, which may be gone the next time
    425: ProviderUnavailable,
    429: RateLimited,
    504: ProviderTimeout,
    524: ProviderTimeout,
}

_REFUSED = (None, 400, 413, 422)
_FAILED = (500, 501, 502)  # some servers report what is wrong with a request like this

_ADDRESS = re.compile(r"unexpected endpoint or method|invalid url \(", re.IGNORECASE)
# "models/gemma" is a model; "/v1/models" is an address.
_NAMES_MODEL = re.compile(r"(?<![/\w])(?:models?|deployment)\b|no endpoints found", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,100}\b(?:not found|does not exist|not exist|decommissioned)"
    r"|not a valid model|invalid model name|unknown model",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient (?:account )?(?:balance|credit|fund)|credit balance is too low"
    r"|exceeded your current quota|insufficient_quota|budget has been exceeded|out of credits"
    r"|(?:have|has) (?:any|no|enough) credits|requires more credits"
    r"|(?:check|update|add) (?:your plan and )?(?:your )?billing|account is in good standing",
    re.IGNORECASE,
)
_NO_ALLOWANCE = re.compile(r"quota.{0,300}\blimit: 0\b", re.IGNORECASE | re.DOTALL)
_WITHHELD = re.compile(
    r"\bflagged\b|content (?:management|filter\w*|policy|policies|moderation)|\bmoderat(?:ion|ed)\b"
    r"|safety (?:system|filter|settings|polic)|(?:prohibited|inappropriate) content|usage polic"
    r"|violat\w* .{0,40}(?:polic|guideline|terms)",
    re.IGNORECASE,
)
_NO_KEY = re.compile(
    r"api[ _-]?key (?:is )?(?:not valid|invalid|expired|missing|required|not found)"
    r"|(?:invalid|incorrect|wrong|missing|no) (?:api[ _-]?key|auth(?:entication|orization)? cred)"
    r"|no connected db|unauthenticated|authentication (?:failed|required)",
    re.IGNORECASE,
)
_ABOUT_REQUEST = re.compile(
    r"failed to parse|jinja|chat template|template error|raise_exception|roles must alternate"
    r"|\bprompts?\b|\bcontext\b(?! (?:deadline|cancel))|validation error|bad request"
    r"|(?:invalid|unsupported|malformed) (?:request|input|message|argument|parameter|value|role)",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"jinja|chat template|raise_exception|roles must alternate", re.IGNORECASE)


class Verdict(NamedTuple):
    """The class of an error, the refused field, and whether the prompt may be too long."""

    kind: Kind
    field: str | None = None
    maybe_too_long: bool = False


def judge(report: ErrorReport, status: int | None, *, model: str, wait_s: float | None) -> Verdict:
    """Return what the error is.

    status: that of the reply, or the one that the body names.
    model: the model that was asked for; "" if it is not known.
    wait_s: the time to wait that the provider told.
    """
    kind = _by_certain_name(report) or _by_address(report, status, model)
    if kind is not None:
        return Verdict(kind)
    if status in _REFUSED + _FAILED and (field := refused_field(report)):
        return Verdict(ParameterRefused, field)
    kind = _by_words(report.text, status, wait_s)
    if kind is not None:
        return Verdict(kind, maybe_too_long=kind is ContextTooLong)
    kind = _by_vague_name(report, status) or _by_status(status)
    # A template refuses the roles of the messages, however few there are.
    doubtful = kind is BadAnswer and status in (400, 413, 422, *_FAILED)
    return Verdict(kind, maybe_too_long=doubtful and not _TEMPLATE.search(report.text))


def _by_certain_name(report: ErrorReport) -> Kind | None:
    return next((_CERTAIN[name] for name in report.names if name in _CERTAIN), None)


def _by_address(report: ErrorReport, status: int | None, model: str) -> Kind | None:
    """Decide what was not found: the model, if the error names one; else the address."""
    if _ADDRESS.search(report.text) and status in (None, 400, 404, 405):
        return WrongAddress
    if status == 405:
        return WrongAddress
    nothing = status in (404, 410) or (status is None and _NOT_FOUND.intersection(report.names))
    if not nothing:
        return None
    # Not as a part of the address: a model may be called "chat".
    asked = rf"(?<![\w/]){re.escape(model)}(?![\w/])"
    named = bool(model) and re.search(asked, report.text, re.IGNORECASE)
    return ModelNotFound if named or _NAMES_MODEL.search(report.text) else WrongAddress


def _by_words(text: str, status: int | None, wait_s: float | None) -> Kind | None:
    if not text:
        return None
    if status in (*_REFUSED, 402, 429) and request_is_too_large(text):
        return ContextTooLong  # also if it is called a rate limit: waiting does not help
    # Google says the same of a limit a minute, but then it tells how long to wait.
    spent = _NO_ALLOWANCE.search(text) or (wait_s is None and _NO_CREDIT.search(text))
    if status in (None, 400, 403, 429) and spent:
        return QuotaExhausted
    if status in (*_REFUSED, 403, 451) and _WITHHELD.search(text):
        return ContentWithheld
    if status in (*_REFUSED, 403) and _NO_KEY.search(text):
        return AuthenticationFailed
    if status in _REFUSED and _NO_MODEL.search(text):
        return ModelNotFound
    if status in _REFUSED + _FAILED and speaks_of_length(text):
        return ContextTooLong
    return None


def _by_vague_name(report: ErrorReport, status: int | None) -> Kind | None:
    kinds = [_VAGUE[name] for name in report.names if name in _VAGUE]
    if status in (400, 413, 422):
        if RateLimited not in kinds:
            return None
        return ContextTooLong if status == 413 else RateLimited
    if status in _FAILED and _is_about_request(report):
        return BadAnswer
    return kinds[0] if kinds else None


def _by_status(status: int | None) -> Kind:
    if status is None:
        return BadAnswer
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return BadAnswer if status < 500 else ProviderUnavailable


def _is_about_request(report: ErrorReport) -> bool:
    named = _BAD_REQUEST.intersection(report.names)
    return bool(named) or _ABOUT_REQUEST.search(report.text) is not None
