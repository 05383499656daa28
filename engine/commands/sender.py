"""The sender of a request: what a program says about it, and how limits and permissions know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from engine.commands.request import ANONYMOUS, Request


@dataclass(frozen=True, slots=True)
class Sender:
    """Who says something, given to a call of `Client` or `LLMService` as `sender`.

    - `username`: the name that the room sees; "User" stands for nobody
    - `user_id`: the platform's id, with the platform in front ("discord/123"); it stays when the
      name changes
    - `roles`: what the sender is on the platform, such as ["moderator"]; they count with
      `[permissions] trust_roles`
    - `is_bot`: whether it is a bot; it is not answered, unless `[access] answer_bots` is on
    """

    username: str = ANONYMOUS
    user_id: str | None = None
    roles: Sequence[str] = ()
    is_bot: bool = False


class SenderFields(TypedDict, total=False):
    """Who sends a request: `sender`, or the fields of a `Sender` one by one."""

    sender: Sender
    username: str
    user_id: str | None
    roles: Sequence[str]
    is_bot: bool


SENDER_KEYS = frozenset(SenderFields.__annotations__)


def fields_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the sender that a call names, without those that it leaves open.

    given: `SenderFields`. Raises TypeError if they are others, or name the sender twice.
    """
    if unknown := given.keys() - SENDER_KEYS:
        raise TypeError(f"Unexpected arguments: {', '.join(sorted(unknown))}.")
    fields = {name: value for name, value in given.items() if value is not None}
    sender = fields.pop("sender", None)
    if sender is None:
        return fields
    if fields:
        raise TypeError(f"Give sender or {', '.join(sorted(fields))}, not both.")
    if not isinstance(sender, Sender):
        raise TypeError(f"sender: expected a Sender, got {sender!r}.")
    said = {name: getattr(sender, name) for name in Sender.__slots__}
    return {name: value for name, value in said.items() if value}


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
