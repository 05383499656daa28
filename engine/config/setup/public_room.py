"""The questions of `rosey-llm init` about a public room: who may do what there, and how often."""

from __future__ import annotations

from engine.config.setup.answers import Ask, Put, is_yes

GUARDED = ("reset", "persona", "stop_others", "stop_all")
LIMITS = {
    "user_per_minute": 10,
    "user_per_hour": 100,
    "user_per_day": 500,
    "channel_per_minute": 60,
}
FOR_ALL, ADMIN = "*", "admin"


class PublicRoom:
    """The questions, in order. Without strangers, there is only the first one."""

    def __init__(self, ask: Ask, put: Put) -> None:
        self._ask, self._put = ask, put
        self._is_public = self._has_admins = False

    def hold(self) -> None:
        self._ask(
            "Is it for a public room, in which strangers speak? yes or no", "no", self._take_public
        )
        if not self._is_public:
            return
        self._ask(
            "Who are the admins? Ids of users, with commas, such as discord/123; or none",
            "none",
            self._take_admins,
        )
        self._ask(
            "Who else may reset the conversation, switch the persona, and stop what others asked?"
            "\nA role that your bots send, such as moderator, or op on IRC; admin for nobody else",
            ADMIN if self._has_admins else None,
            self._take_role,
        )

    def _take_public(self, answer: str) -> None:
        self._is_public = is_yes(answer)
        if self._is_public:
            for key, number in LIMITS.items():
                self._put(("limits", key), number)

    def _take_admins(self, answer: str) -> None:
        names = [] if answer.lower() == "none" else [name.strip() for name in answer.split(",")]
        admins = [name for name in names if name]
        self._has_admins = bool(admins)
        self._put(("permissions", "admins"), admins)

    def _take_role(self, answer: str) -> None:
        if answer == ADMIN and not self._has_admins:
            raise ValueError("without an admin, nobody could do it: name a role")
        for key in GUARDED:
            self._put(("permissions", key), answer)
        # Only then do the roles count that bots send.
        self._put(("permissions", "trust_roles"), answer not in (FOR_ALL, ADMIN))
