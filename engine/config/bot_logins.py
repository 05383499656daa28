"""Checks what `[nats]` says about the bots on the embedded server: their subjects and logins."""

from __future__ import annotations

import re

from engine.config.settings import NatsSettings
from providers.validation import ValidationError

RESERVED = ("engine", "bot")  # the engine itself, and the login that the service makes


def check(nats: NatsSettings) -> None:
    """Raise ValidationError with what is wrong and where; it never shows a password."""
    for index, subject in enumerate(nats.allow):
        path = f"nats.allow[{index}]"
        if not re.fullmatch(r"[^\s.*>]+(\.[^\s.>]+)*(\.>)?", subject):
            expected = 'expected a subject whose first word has no wildcard, such as "rooms.>"'
            raise ValidationError(path, f'{expected}, got "{subject}"')
        if subject.startswith("$"):
            what = (
                "jetstream = true in [[nats.users]]" if subject.startswith("$JS") else "no setting"
            )
            raise ValidationError(path, f'"{subject}" belongs to the server: {what} opens it')
        if subject.partition(".")[0] == "_INBOX":
            raise ValidationError(path, "reply subjects need not be named: bots may reply")
    names = [user.name for user in nats.users]
    for index, user in enumerate(nats.users):
        _check_user(f"nats.users[{index}]", user.name, user.password, names)


def _check_user(path: str, name: str, password: str, names: list[str]) -> None:
    if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
        expected = "expected letters, digits, - and _"
        raise ValidationError(f"{path}.name", f'{expected}, got "{name}"')
    if name in RESERVED:
        raise ValidationError(f"{path}.name", f'"{name}" is the service\'s own; choose another')
    if names.count(name) > 1:
        raise ValidationError(f"{path}.name", f'"{name}" is used twice')
    # An empty one is no error: the variable may be set for the service, but not for `check`.
    if not password.isprintable():
        raise ValidationError(f"{path}.password", "expected one line without control characters")
