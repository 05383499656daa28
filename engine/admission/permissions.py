"""RolePermissions: which role a command needs, and whether its sender has it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.commands.records import Command, Reset, SetModel, SetPersona
from engine.commands.request import Request
from engine.config.settings import ChannelSettings, PermissionSettings
from engine.errors import NotAllowed
from engine.texts import model_sentences, sentences
from engine.texts.sentence import Sentence

EVERYBODY, ADMIN = "*", "admin"
# The key of `[permissions]` that a command needs, and what its refusal says.
KEYS: Mapping[type[Command], tuple[str, Sentence]] = {
    Reset: ("reset", sentences.RESET_NOT_ALLOWED),
    SetPersona: ("persona", sentences.PERSONA_NOT_ALLOWED),
    SetModel: ("model", model_sentences.MODEL_NOT_ALLOWED),
}


class RolePermissions:
    """`[permissions]` of the configuration, and what channel rules say in its place."""

    def __init__(self, settings: PermissionSettings, channels: ChannelSettings) -> None:
        self._settings = settings
        self._channels = channels
        self._admins = frozenset(admin.casefold() for admin in settings.admins)

    def check(self, request: Request) -> None:
        """Raise NotAllowed if the sender lacks the role that the command needs."""
        if needed := KEYS.get(type(request.command)):
            self.require(request, *needed)

    def require(self, request: Request, key: str, refusal: Sentence) -> None:
        """Raise NotAllowed, with the role, if the sender may not do this."""
        if not self.permits(request, key):
            role = self._role(request, key)
            whom = sentences.ADMINS() if role == ADMIN else sentences.ROLE(role=role)
            raise NotAllowed(refusal(whom=whom))

    def permits(self, request: Request, key: str) -> bool:
        """Return whether the sender has the role for this."""
        return self._has(request, self._role(request, key))

    def _role(self, request: Request, key: str) -> str:
        rule = self._channels.rule_of(request.channel_id)
        role: str = rule.permissions.get(key) or getattr(self._settings, key)
        return role

    def _has(self, request: Request, role: str) -> bool:
        if role == EVERYBODY:
            return True
        named = request.username if request.user_id is None else request.user_id
        if named.casefold() in self._admins:
            return True
        if not self._settings.trust_roles:
            return False
        return role in request.roles or ADMIN in request.roles
