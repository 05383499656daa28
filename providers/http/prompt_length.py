"""Decides whether the text of an error says that the prompt is too long.

It must speak of the prompt and of a limit within one sentence, and of nothing else that has limits.
"""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"[.!?;]\s|\n")
_PROMPT = re.compile(
    r"\b(?:inputs?|prompts?|context|tokens?|messages?|length|conversation|history|n ctx)\b"
    r"|\bmax (?:seq|model|input|prompt) len|上下文|输入|长度",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"\btoo (?:long|large|many|big)\b|\bexceed|\bmax(?:imum)?\b|\blimit|\brange\b|\boverflow"
    r"|\b(?:longer|greater|larger|more|bigger|higher|less|fewer) than\b|[<>]=?"
    r"|\bat most\b|\bsupports? (?:only )?up to\b|\bonly supports?\b|\breduce\b|\bshorte(?:n|r)\b"
    r"|\bcontext (?:size|length|window) is\b|超|过长",
    re.IGNORECASE,
)
# Other things with a limit: an answer's length, a rate, a key, the time, a part that is no text.
_OTHER = re.compile(
    r"\b(?:images?|audio|videos?|files?|pdfs?|documents?|pixels?|tools?|functions?|schema|stop"
    r"|logprobs|logit bias|embeddings?|batch|array|metadata|name|user id|temperature|top p)\b"
    r"|rate limit|per (?:min|hour|day|sec|month)|\b[rt]p[mdh]\b|requests?\b.{0,20}\b(?:many|rate)"
    r"|too many (?:concurrent )?requests|concurren|\bdaily\b|\bmonthly\b|\bweekly\b|\bquota\b"
    r"|\b(?:api|access|auth\w*|bearer) tokens?\b|tokens? (?:is |has |have )?(?:expired|invalid)"
    r"|context (?:deadline|cancel)|deadline exceeded|retries",
    re.IGNORECASE,
)
_STRING = re.compile(r"string too long|string with maximum length", re.IGNORECASE)
_PROMPT_PART = re.compile(r"\b(?:messages|contents?|prompt|input)\b", re.IGNORECASE)
# vLLM takes the prompt from the model's length, and finds less than nothing left for the answer.
_NEGATIVE_ROOM = re.compile(
    r"max.?(?:completion.?)?tokens must be at least 1, got -\d", re.IGNORECASE
)
_REQUEST = re.compile(
    r"request (?:is |entity |body |payload )?(?:size )?(?:is )?too large"
    r"|(?:request|payload) size (?:has )?exceed|request exceeds the maximum (?:size|allowed)"
    r"|reduce your (?:message|prompt|input) size"
    r"|(?:input|prompt) (?:or output )?tokens must be reduced|prompt tokens limit exceeded",
    re.IGNORECASE,
)


def request_is_too_large(text: str) -> bool:
    """Return whether the request is too large by itself, even if the error is a rate limit's."""
    return _REQUEST.search(text) is not None


def leaves_no_room(text: str) -> bool:
    """Return whether the text says that no tokens are left for an answer."""
    return _NEGATIVE_ROOM.search(text) is not None


def speaks_of_length(text: str) -> bool:
    """Return whether the text says that the prompt is too long for the model."""
    if leaves_no_room(text):
        return True
    # "context_length_exceeded" is read as three words.
    return any(map(_is_of_length, _SENTENCE_END.split(text.replace("_", " "))))


def _is_of_length(sentence: str) -> bool:
    if not (_PROMPT.search(sentence) and _LIMIT.search(sentence)) or _OTHER.search(sentence):
        return False
    return not _STRING.search(sentence) or _PROMPT_PART.search(sentence) is not None
