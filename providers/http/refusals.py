"""Remembers what each model refuses of a request, and what to send instead."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence

from providers import origin
from providers.errors import (
    BadAnswer,
    EmptyAnswer,
    IncompleteAnswer,
    ParameterRefused,
    ProviderError,
    ProviderUnavailable,
)

logger = logging.getLogger("rosey_llm.providers")

SYSTEM = "system"
"""The name of the system role among the fields that can be refused."""

Left = tuple[str, object]
"""A field that is left out: always (name, None), or with this value (name, value)."""

_FIELD_STATUSES = (None, 400, 422)  # None: an error within a reply of status 200
_SYSTEM_STATUSES = (None, 400, 422, 500)  # 500: a local server whose template raises an error
_REMEMBERED = 32  # of one model; a request can bring any number of values
_DEPTH, _TEXTS, _TEXT_CHARACTERS = 8, 50, 4000
_QUOTES = ("input", "body", "request")  # what FastAPI and others quote of the request

_NO = r"\b(?:not|no|cannot|only|must|un\w+|invalid|unable)\b|n't\b"
_ROLE = (
    r"\b(?:system|developer)['\"` _-]{0,3}(?:role|instruction|prompt|message)s?\b"
    r"|\brole[^a-z]{0,6}(?:system|developer)\b"
)
_SAYS_SYSTEM = re.compile(
    rf"(?:{_NO}).{{0,60}}(?:{_ROLE})|(?:{_ROLE}).{{0,60}}(?:{_NO})"
    r"|\broles must alternate\b|\bmessages[\[.]0\]?\.role\b"
    r"|\bonly\b.{0,20}\buser\b.{0,20}\bassistant\b.{0,20}\brole",
    re.IGNORECASE | re.DOTALL,
)
# These names are ordinary words too: they name a field only beside a word of refusal.
_ORDINARY = {"stream": r"stream(?:ing|ed|s)?", "think": r"think(?:ing|s)?"}
_OTHER_NAMES = {"keep_alive": r"keep_alive\b|\btime: .*\bduration"}
_REFUSES = re.compile(rf"{_NO}|\bverified\b", re.IGNORECASE)
_BESIDE = 60  # characters
# The value is refused, not the field; another call may bring one that is taken.
_VALUE = re.compile(
    r"\btoo (?:large|big|high|small|low)\b|\bat (?:most|least)\b|\bexceed|\bbetween\b|\brange\b"
    r"|\b(?:less|greater|lower|higher|more) than\b|\b(?:max|min)imum\b|[<>]=",
    re.IGNORECASE,
)
# What is too large beside this prompt is not too large beside another.
_CONTEXT = re.compile(r"\bcontext\b|\bprompt\b|\binput\b", re.IGNORECASE)


class Refusals:
    """What the models of one provider refuse, so that each is asked for it only once."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._by_model: dict[str, frozenset[Left]] = {}

    def call(self, model: str) -> AdaptedCall:
        """Return a call of `model`, without what it has refused before."""
        return AdaptedCall(self, model, self._by_model.get(model, frozenset()))

    def remember(self, model: str, left: frozenset[Left]) -> None:
        known = self._by_model.get(model, frozenset())
        if left <= known or len(known | left) > _REMEMBERED:
            return
        self._by_model[model] = known | left
        fields = ", ".join(sorted({field for field, _ in left - known}))
        logger.info(
            "Provider %(provider)s: model %(model)s is asked without: %(left_out)s",
            {
                "event": "provider.parameters_left_out",
                "provider": self.provider,
                **origin.named(),
                "model": model,
                "left_out": fields,
            },
        )


class AdaptedCall:
    """One call, which is made again without what the model refuses, until it is taken.

    Each field is left out at most once, so the number of calls is bounded.
    """

    __slots__ = ("_adapted", "_left", "_model", "_refusals", "_to_remember")

    def __init__(self, refusals: Refusals, model: str, left: frozenset[Left]) -> None:
        self._refusals = refusals
        self._model = model
        self._left = left
        self._to_remember = left
        self._adapted = False

    def sends(self, field: str, value: object = None) -> bool:
        """Return whether the field is sent with this value."""
        left = self._left
        return not left or ((field, None) not in left and (field, value) not in left)

    def adapt(self, exc: ProviderError, sent: Mapping[str, object]) -> None:
        """Leave out what the error refuses, for another call; raise if none can help.

        sent: the optional fields of the refused call with their values, also `SYSTEM`.
        """
        field = refused_field(exc, sent)
        if field is None:
            raise self._failure(exc)
        text, value = " ".join(exc.said), sent[field]
        by_value = value is not None and bool(_VALUE.search(text))
        left = (field, value if by_value else None)
        self._adapted = True
        self._left |= {left}
        if not (by_value and _CONTEXT.search(text)):
            self._to_remember |= {left}

    def accept(self) -> None:
        """Remember what was left out: the model answers without it."""
        if self._adapted:
            self._refusals.remember(self._model, self._to_remember)

    def _failure(self, exc: ProviderError) -> ProviderError:
        """Return the error of the last call: ParameterRefused if to leave out fields did not help.

        A 500 of a local server is about the system role only if it says so.
        """
        if self._adapted and (
            _is_refusal(exc, (400, 422))
            or (_is_refusal(exc, _SYSTEM_STATUSES) and _says_system(exc))
        ):
            refused = ParameterRefused(str(exc), status=exc.status)
            refused.__cause__ = exc
            return refused
        return exc


def refused_field(exc: ProviderError, sent: Mapping[str, object]) -> str | None:
    """Return the field of `sent` that the error refuses, or None."""
    if isinstance(exc, ParameterRefused) and exc.field in sent:
        return exc.field
    said, text = exc.said, " ".join(exc.said)
    if SYSTEM in sent and _is_refusal(exc, _SYSTEM_STATUSES) and _says_system(exc):
        return SYSTEM
    if not _is_refusal(exc, _FIELD_STATUSES):
        return None
    fields = [field for field in sent if field != SYSTEM]
    for field in fields:  # FastAPI's `loc` and OpenAI's `param` are the name alone
        if any(part == field or part.endswith(f".{field}") for part in said):
            return field
    places = {field: _place(field, text) for field in fields}
    named = [field for field in fields if places[field] >= 0]
    # The first one is refused; those behind it may be what the server suggests or lists.
    return min(named, key=lambda field: places[field], default=None)


def _says_system(exc: ProviderError) -> bool:
    return any(_SAYS_SYSTEM.search(part) for part in exc.said)


def _place(field: str, text: str) -> int:
    """Return the place at which the text names the field; -1 if it does not."""
    name = _ORDINARY.get(field) or _OTHER_NAMES.get(field) or re.escape(field)
    for match in re.finditer(rf"\b{name}\b", text):
        start, end = match.span()
        if field not in _ORDINARY or _REFUSES.search(text, max(0, start - _BESIDE), end + _BESIDE):
            return start
    return -1


def _is_refusal(exc: ProviderError, statuses: Sequence[int | None]) -> bool:
    if isinstance(exc, (IncompleteAnswer, EmptyAnswer)) or not exc.said:
        return False
    known = isinstance(exc, (BadAnswer, ParameterRefused, ProviderUnavailable))
    return known and exc.status in statuses


def texts_in(body: object) -> tuple[str, ...]:
    """Return the texts in an error body of any shape, except what quotes the request."""
    return tuple(text[:_TEXT_CHARACTERS] for text in _texts(body, _DEPTH))[:_TEXTS]


def _texts(value: object, depth: int) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list() if depth:
            for item in value:
                yield from _texts(item, depth - 1)
        case dict() if depth:
            for key, item in value.items():
                if key not in _QUOTES:
                    yield from _texts(item, depth - 1)
