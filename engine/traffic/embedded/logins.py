"""The logins of the embedded server: of the engine, of the file `url`, and those of the settings.

Passwords reach the server through its environment only: its configuration names variables.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

ENGINE, BOT = "engine", "bot"
_VARIABLE = "ROSEY_LLM_NATS_PASSWORD"
_INBOX = "_INBOX"
# All of it: what a stream or a consumer delivers, and where, is in the body of a request.
_JETSTREAM = ("$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotRights:
    """What each login but the engine's may do. Wildcards are allowed.

    - `publish`, `subscribe`: the engine's subjects
    - `never_publish`, `never_hear`: what stays closed, whatever else is open
    - `among_bots`: what bots may publish and hear among themselves; they may then reply, too
    """

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()
    never_publish: Sequence[str] = ()
    never_hear: Sequence[str] = ()
    among_bots: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BotLogin:
    """A login for a bot. `password`: itself, or its bcrypt hash. `jetstream`: may it use that."""

    name: str
    password: str
    jetstream: bool = False


class Logins:
    """All logins of a server.

    - `is_open`: whether a client without a login is let in, with the rights of `bot`
    - `engine_password`: random, for this start
    - `without_password`: the names that nobody can log in with
    - `bot_password`: that in the file `url`
    """

    def __init__(self, rights: BotRights, more: Sequence[BotLogin], *, is_open: bool) -> None:
        self.engine_password = secrets.token_urlsafe(24)
        self.bot_password = secrets.token_urlsafe(24)
        self._rights = rights
        self._more = [each for each in more if each.password]
        self.without_password = [each.name for each in more if not each.password]
        self._is_open = is_open

    def keep_or_renew(self, bot_password: str | None) -> None:
        """Take over the bot's password of before; None makes a new one."""
        self.bot_password = bot_password or secrets.token_urlsafe(24)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the configuration names."""
        passwords = [self.engine_password, self.bot_password]
        passwords += [each.password for each in self._more]
        # Quoted because the server would read a password such as 12k as a number.
        return {_variable(n): _json(password) for n, password in enumerate(passwords)}

    @property
    def configuration(self) -> str:
        """The server's block of logins, without a password."""
        bots = [BotLogin(name=BOT, password=""), *self._more]
        users = [f"    {{ user: {ENGINE}, password: ${_variable(0)} }}"]
        users += [
            f"    {{ user: {_json(each.name)}, password: ${_variable(n)},"
            f" permissions: {_json(self._permissions(each, bots))} }}"
            for n, each in enumerate(bots, 1)
        ]
        anonymous = f"no_auth_user: {BOT}\n" if self._is_open else ""
        listed = "\n".join(users)
        return f"{anonymous}authorization {{\n  users: [\n{listed}\n  ]\n}}\n"

    def _permissions(self, login: BotLogin, bots: Sequence[BotLogin]) -> Mapping[str, object]:
        rights = self._rights
        # Any client works with the reply subjects of its library. One whose reply subjects begin
        # with its name has them for itself.
        strangers = [each.name for each in bots if each.name != login.name]
        never_hear = [*rights.never_hear, *(f"{_INBOX}.{name}.>" for name in (ENGINE, *strangers))]
        jetstream = _JETSTREAM if login.jetstream else ()
        replies = [f"{_INBOX}.>"] if rights.among_bots or login.jetstream else []
        return {
            "publish": {
                "allow": [*rights.publish, *rights.among_bots, *replies, *jetstream],
                "deny": [*rights.never_publish, f"{_INBOX}.{ENGINE}.>"],
            },
            "subscribe": {
                "allow": [*rights.subscribe, *rights.among_bots, f"{_INBOX}.>", *jetstream],
                "deny": never_hear,
            },
        }


def _variable(number: int) -> str:
    return f"{_VARIABLE}_{number}" if number else _VARIABLE


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
