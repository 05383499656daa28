"""The rules for reply subjects: those of NATS messages, and those that a payload names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from engine.commands.validation import check_request_id
from engine.errors import InvalidRequest
from engine.texts import message_faults
from storage.replies import ReplySubject

INBOX = "_INBOX"
_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
MAX_SUBJECT_BYTES = 1024


class ReplyRules:
    """Decides where an outcome may be sent, in addition to the shared subjects.

    own: the engine's subjects; an outcome there would be sent twice, or be taken for a command.
    allowed: subjects with wildcards that a payload's `reply_to` may name, besides inboxes.
    """

    def __init__(self, own: Iterable[str], allowed: Iterable[str] = ()) -> None:
        self._own = frozenset(own)
        self._allowed = [each.split(".") for each in allowed]

    def of_message(self, reply: str) -> tuple[str, ...]:
        """Return the reply subject that NATS gave with a message, if it may be used."""
        return (reply,) if reply and reply not in self._own else ()

    def of_payload(self, values: Mapping[str, Any], replies: tuple[str, ...]) -> tuple[str, ...]:
        """Return the reply subjects with what the payload says of them.

        A sender that gives a correlation id and no subject has the subject "". Raises
        InvalidRequest.
        """
        reply_to, correlation_id = values.get("reply_to"), values.get("correlation_id")
        if reply_to is None and correlation_id is None:
            return replies
        if reply_to is not None and reply_to not in replies:
            self._check(reply_to)
            replies = (*replies, reply_to)
        if correlation_id is None:
            return replies
        check_request_id(correlation_id, "correlation_id")
        return tuple(ReplySubject(each, correlation_id) for each in replies or ("",))

    def _check(self, subject: object) -> None:
        if not isinstance(subject, str):
            raise InvalidRequest(message_faults.REPLY_TO_NOT_STRING())
        is_subject = len(subject.encode(errors="replace")) <= MAX_SUBJECT_BYTES
        if not (is_subject and _SUBJECT.fullmatch(subject)) or subject in self._own:
            raise InvalidRequest(message_faults.REPLY_TO_UNUSABLE())
        words = subject.split(".")
        if not subject.startswith(INBOX) and not any(_fits(words, e) for e in self._allowed):
            raise InvalidRequest(message_faults.REPLY_TO_NOT_ALLOWED(inbox=INBOX))


def _fits(words: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == ">":
        if len(words) < len(pattern):
            return False
        pattern = pattern[:-1]
        words = words[: len(pattern)]
    if len(words) != len(pattern):
        return False
    return all(wanted in ("*", word) for word, wanted in zip(words, pattern, strict=True))
