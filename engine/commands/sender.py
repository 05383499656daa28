"""Who sent a request, as limits and permissions know people."""

from __future__ import annotations

from engine.commands.request import ANONYMOUS, Request


def sender_of(request: Request) -> str | None:
    """Return what tells this sender from others: the platform's id, else the folded name.

    None for a sender who gave neither.
    """
    if request.user_id is not None:
        return f"id {request.user_id}"
    if request.username == ANONYMOUS:
        return None
    return f"name {request.username.casefold()}"
