"""A command with its sender, its channel, and the reply subjects for its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import orjson

from engine.commands.outcomes import Action, Failure
from engine.commands.records import (
    Chat,
    Command,
    Complete,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    ShowUsage,
    Stop,
)
from engine.errors import LimitReached, RoomError
from engine.texts.texts import Texts
from providers.trace import TraceContext

_ACTIONS: Mapping[type[Command], Action] = {
    Chat: "chat",
    Complete: "complete",
    Reset: "reset",
    SetPersona: "persona",
    ShowPersonas: "persona",
    SetModel: "model",
    ShowModel: "model",
    ShowUsage: "usage",
    Stop: "stop",
    Help: "help",
}


ANONYMOUS = "User"  # the name of a sender who gave none
# The tables below `[limits]`, one for each door that has its own; "" is `[limits]` itself.
Door = Literal["", "service"]


class Request(NamedTuple):
    """A command with its sender.

    replies: subjects that get the outcome in addition to the shared subjects; a `ReplySubject` has
        the correlation id that its sender gave.
    status: whether the sender wants to hear where the request is; not kept across a restart.
    trace: the sender's trace, which the turn continues; None if the sender has none.
    user_id: the platform's id of the sender; None if it gave none.
    roles: what the sender is on the platform, such as "mod"; not kept across a restart.
    is_bot: whether the sender is a bot; not kept across a restart.
    by_program: whether another program sent it, which may speak for many people.
    has_given_id: whether its sender gave the request id, so that it may be one that is sent again;
        not kept across a restart.
    door: whose limits hold for it beside those of all; not kept across a restart.
    """

    channel_id: str
    request_id: str
    username: str
    command: Command
    replies: tuple[str, ...] = ()
    trace: TraceContext | None = None
    status: bool = False
    user_id: str | None = None
    roles: tuple[str, ...] = ()
    is_bot: bool = False
    by_program: bool = False
    has_given_id: bool = False
    door: Door = ""

    @property
    def personal(self) -> str | None:
        """What is kept of the sender beside the name (`storage/history.py`), as JSON."""
        return None if self.user_id is None else self.personal_with(None)

    def personal_with(self, prompt_salt: bytes | None) -> str | None:
        """Return `personal` of the row that has the digest of a prompt, and this salt of it."""
        facts = {} if self.user_id is None else {"user_id": self.user_id}
        if prompt_salt is not None:
            facts["prompt_salt"] = prompt_salt.hex()
        return orjson.dumps(facts).decode() if facts else None

    @staticmethod
    def user_id_of(personal: str | None) -> str | None:
        """Return the id that `personal` was made of."""
        if personal is None:
            return None
        user_id: str | None = orjson.loads(personal).get("user_id")
        return user_id

    @property
    def action(self) -> Action | None:
        """What the command does, as outcomes name it; None if the command was erased."""
        return _ACTIONS.get(type(self.command))

    def refusal(self, exc: RoomError, texts: Texts) -> Failure:
        """Return the failure of a request that was not accepted."""
        error = texts.say(self.channel_id, exc.said)
        ahead = getattr(exc, "ahead", None)
        failure = self.failure(exc.code, error, exc.retry_after_s, ahead)
        if isinstance(exc, LimitReached):
            failure = failure._replace(limit=exc.limit, scope=exc.scope)
        return failure

    def failure(
        self,
        code: str,
        error: str,
        retry_after_s: float | None = None,
        ahead: int | None = None,
        partial: str | None = None,
    ) -> Failure:
        """Return the failure of this request."""
        return Failure(
            self.channel_id,
            self.request_id,
            code,
            error,
            retry_after_s,
            ahead,
            self.username or None,
            self.action,
            partial,
        )
