"""Who sent a request, as limits and permissions know people."""

from __future__ import annotations

from engine.commands.request import ANONYMOUS, Request


def sender_of(request: Request) -> str | None:
    """Return what tells this sender from others: the platform's id, else the folded name.

    None for a sender who gave neither, or was erased.
    """
    if request.user_id is not None:
        return f"id {request.user_id}"
    if request.username in (ANONYMOUS, ""):
        return None
    return f"name {request.username.casefold()}"


def counted_sender(request: Request) -> str | None:
    """Return the sender whose waiting commands are counted; None if they are not.

    The name that a program gives may stand for many people, an id does not.
    """
    if request.by_program and request.user_id is None:
        return None
    return sender_of(request)
