"""The scopes that a turn's usage is counted for, as keys of the table `usage`."""

from __future__ import annotations

from collections.abc import Iterable

from engine.commands.request import Request
from engine.commands.sender import sender_of

ALL, NOBODY = "*", ""
USER, CHANNEL, PERSONA, PROVIDER, MODEL = "u:", "c:", "p:", "e:", "m:"


def of_user(request: Request) -> str:
    """Return the scope of the sender; NOBODY if it gave neither id nor name."""
    sender = sender_of(request)
    return f"{USER}{sender}" if sender is not None else NOBODY


def of_channel(request: Request) -> str:
    return f"{CHANNEL}{request.channel_id}"


def of_turn(request: Request, persona: str | None, provider: str, model: str) -> tuple[str, ...]:
    """Return the scopes of a turn; a sender without id and name has no user's."""
    scopes = (
        ALL,
        of_user(request),
        of_channel(request),
        f"{PERSONA}{persona}" if persona else "",
        f"{PROVIDER}{provider}" if provider else "",
        f"{MODEL}{model}" if model else "",
    )
    return tuple(filter(None, scopes))


def name_of(scopes: Iterable[str], kind: str) -> str | None:
    """Return the name in the scope of this kind, such as PROVIDER; None if there is none."""
    for scope in scopes:
        if scope.startswith(kind):
            return scope[len(kind) :]
    return None
