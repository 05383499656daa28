"""The people of a public room: who they are, what they may, and how often they speak."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.bots import KINDS, Bot, RequestLog
from tests.chaos.witness import Ledger

ROOM = "irc/#lobby"
COUNT = 50
LIMITS = {"user_per_minute": 6, "user_per_hour": 400, "channel_per_minute": 900}
PERMISSIONS: dict[str, Any] = {
    "admins": ["irc/p00"],
    "trust_roles": True,
    "reset": "moderator",
    "persona": "moderator",
    "model": "moderator",
    "stop_others": "moderator",
}
ACCESS: dict[str, Any] = {"users_deny": ["irc/p49"], "answer_bots": True}
# What a command needs, by the kind of a bot's request.
GUARDED = {
    "reset": "moderator",
    "persona": "moderator",
    "model": "moderator",
    "stop all": "admin",
}
TALK = KINDS | {"reset": 2, "persona": 3, "model": 3, "usage": 4, "stop": 4, "stop all": 1}


@dataclass(frozen=True)
class Identity:
    """Somebody in the room. pause_s: the longest pause between two bursts of messages."""

    name: str
    roles: tuple[str, ...] = ()
    is_bot: bool = False
    is_denied: bool = False
    pause_s: float = 8.0
    fields: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        fields: dict[str, Any] = {"user_id": f"irc/{self.name}"}
        if self.roles:
            fields["roles"] = list(self.roles)
        if self.is_bot:
            fields["is_bot"] = True
        object.__setattr__(self, "fields", fields)

    def may(self, kind: str) -> bool:
        """Return whether this kind of request is permitted."""
        needed = GUARDED.get(kind, "")
        is_admin = self.fields["user_id"] in PERMISSIONS["admins"]
        return not needed or is_admin or needed in self.roles


def people() -> list[Identity]:
    """Return an admin, moderators, subscribers, flooders, bots, somebody who is denied, others."""
    found = []
    for number in range(COUNT):
        name = f"p{number:02}"
        if number in (1, 2, 3):
            found.append(Identity(name, ("moderator",)))
        elif number < 10:
            found.append(Identity(name, ("subscriber",) * (number > 3)))
        elif number in (40, 41, 42):
            found.append(Identity(name, pause_s=1.0))  # they reach their limit
        elif number in (47, 48):
            found.append(Identity(name, is_bot=True))
        else:
            found.append(Identity(name, is_denied=number == 49))
    return found


class Person(Bot):
    """One of them, as a careful bot of the room speaks for him."""

    kinds = TALK

    def __init__(
        self, identity: Identity, ledger: Ledger, request_log: RequestLog, rng: random.Random
    ) -> None:
        super().__init__(identity.name, [ROOM], ledger, request_log, rng)
        self.identity = identity.fields
        self._pause_s = identity.pause_s

    async def send_bursts(self, pause_s: float) -> None:
        await super().send_bursts(self._pause_s)
