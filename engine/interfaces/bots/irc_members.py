"""`IrcMembers`: who is in a channel of IRC, with which rights there, as the server says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple

# What a person is in a channel, by the letter of the mode. Those with more rights than operators
# are operators, too. No mode makes an "admin" of the service.
ROLES = {
    "q": ("op", "owner"),
    "a": ("op", "protected"),
    "o": ("op",),
    "h": ("halfop",),
    "v": ("voice",),
}


class IrcDialect(NamedTuple):
    """What a server says of itself (ISUPPORT), as far as rights depend on it.

    - `prefix`: the modes of members by their signs in front of nicknames
    - `list_modes`, `set_modes`: other modes with an argument: always, and only if they are set
    - `is_ascii`: only letters have a case; else []\\~ are the capital letters of {}|^, too
    """

    prefix: dict[str, str]
    list_modes: str
    set_modes: str
    is_ascii: bool

    @classmethod
    def of(cls, features: object) -> IrcDialect:
        """Return the dialect that the library has read of; what is missing is as in RFC 1459."""
        prefix = getattr(features, "prefix", None)
        kinds = getattr(features, "chanmodes", None)
        lists, keys, limits, *_ = (
            [*kinds, "", "", ""] if isinstance(kinds, list) else ["beI", "k", "l"]
        )
        mapping = getattr(features, "casemapping", "rfc1459")
        return cls(
            dict(prefix) if isinstance(prefix, dict) else {},
            lists + keys,
            limits,
            not str(mapping).endswith("rfc1459"),
        )

    def folded(self, name: str) -> str:
        """Return a name in the spelling in which two names of one person are equal."""
        return name.translate(_ASCII if self.is_ascii else _RFC1459)


_ASCII = str.maketrans(ascii_uppercase, ascii_lowercase)
_RFC1459 = str.maketrans(rf"{ascii_uppercase}[]\~", rf"{ascii_lowercase}{{}}|^")


class IrcMembers:
    """The members of all channels of one connection, from the lines of its server.

    - `dialect`: of the server; it is known soon after its welcome, before the bot is in a channel
    """

    def __init__(self, dialect: IrcDialect) -> None:
        self.dialect = dialect
        self._rights: dict[str, dict[str, set[str]]] = {}  # letters of modes by channel and nick

    def roles(self, channel: str, nick: str) -> tuple[str, ...]:
        """Return what somebody is in a channel, such as ("op", "voice")."""
        rights = self._members(channel).get(self.dialect.folded(nick), set())
        return tuple(sorted({role for right in rights for role in ROLES.get(right, ())}))

    def names(self, channel: str, names: str) -> None:
        """Take who is there: "@alice +bob carol", with `multi-prefix` also "@+dave"."""
        for name in names.split():
            nick = name.lstrip("".join(self.dialect.prefix))
            signs = name[: len(name) - len(nick)]
            rights = {self.dialect.prefix[sign] for sign in signs}
            self._members(channel)[self.dialect.folded(nick)] = rights

    def joined(self, channel: str, nick: str) -> None:
        self._members(channel)[self.dialect.folded(nick)] = set()

    def left(self, channel: str, nick: str) -> None:
        self._members(channel).pop(self.dialect.folded(nick), None)

    def quit(self, nick: str) -> None:
        for channel in self._rights:
            self.left(channel, nick)

    def renamed(self, nick: str, new: str) -> None:
        for members in self._rights.values():
            if (rights := members.pop(self.dialect.folded(nick), None)) is not None:
                members[self.dialect.folded(new)] = rights

    def forget(self, channel: str) -> None:
        """Forget a channel: the bot is not there any more, or is there again."""
        self._rights.pop(self.dialect.folded(channel), None)

    def modes(self, channel: str, words: Sequence[str]) -> None:
        """Take a change of modes: ["+o-v", "alice", "bob"]."""
        for is_set, right, nick in self._changes(words):
            rights = self._members(channel).setdefault(self.dialect.folded(nick), set())
            if is_set:
                rights.add(right)
            else:
                rights.discard(right)

    def _changes(self, words: Sequence[str]) -> Iterator[tuple[bool, str, str]]:
        """Yield the changes of members' rights: whether it is given, its letter, whose it is."""
        letters, *arguments = words or [""]
        is_set, members = True, self.dialect.prefix.values()
        for letter in letters:
            if letter in "+-":
                is_set = letter == "+"
                continue
            is_right = letter in members
            with_argument = self.dialect.list_modes + self.dialect.set_modes * is_set
            if not arguments or not (is_right or letter in with_argument):
                continue
            argument = arguments.pop(0)
            if is_right:
                yield is_set, letter, argument

    def _members(self, channel: str) -> dict[str, set[str]]:
        return self._rights.setdefault(self.dialect.folded(channel), {})
