"""The texts of IRC: what a person asks, and an answer in lines that a server does not cut."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping

from engine.client.parts import split
from engine.client.safe_line import MARK, safe_line
from engine.commands.sender import Sender
from engine.interfaces.bots.room import RoomQuestion

# A line has 512 bytes, with CR LF and with the sender that the server puts in front.
LINE_BYTES = 510
LONGEST_USER, LONGEST_HOST = 20, 63
# What begins a command of a client, of Twitch, or of the bots that people run.
COMMAND_MARKS = "/!.@~$&?;,\\"
LONGEST_ID, LONGEST_USER_ID = 100, 128
TWITCH_ROLES = {"broadcaster", "moderator", "vip", "subscriber"}
# A server gives one of these to the lines of a user with its bot mode.
BOT_TAGS = {"bot", "draft/bot", "inspircd.org/bot"}
_FORMATS = re.compile(
    "\x03(?:\\d{1,2}(?:,\\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6})?|[\x02\x0f\x11\x16\x1d\x1e\x1f]"
)
_COMMAND = re.compile(r"\s*!chat(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


def lines(text: str, nick: str, channel: str) -> list[str]:
    """Return a text in lines that every server takes whole, and that are no commands."""
    sender = f":{nick}!{'u' * LONGEST_USER}@{'h' * LONGEST_HOST}"
    limit = LINE_BYTES - len(f"{sender} PRIVMSG {channel} :".encode()) - len(MARK)
    parts = split(text, limit, one_line=True)
    return [line for part in parts if (line := safe_line(part, COMMAND_MARKS))]


def question(
    nick: str,
    line: str,
    tags: Mapping[str, str],
    roles: Iterable[str] = (),
    platform: str = "irc",
) -> RoomQuestion | None:
    """Return what a line asks; None if it is no `!chat`.

    tags: those of IRCv3 and of Twitch. The id of a message is the request's, so a line that comes
    twice is answered once; the account, or Twitch's number of a user, is the `user_id`.
    roles: by the rights of the person in the channel; those of Twitch come from the tags.
    platform: what stands in front of ids; no nickname has the "/" behind it, so that nobody can
    take the name of an account.
    """
    found = _COMMAND.fullmatch(_FORMATS.sub("", line))
    if found is None:
        return None
    person = tags.get("user-id") or tags.get("account")
    message = tags.get("msgid") or tags.get("id") or secrets.token_hex(16)
    return RoomQuestion(
        text=(found[1] or "").strip(),
        request_id=f"irc-{message[:LONGEST_ID]}",
        sender=Sender(
            nick,
            user_id=f"{platform}/{person}"[:LONGEST_USER_ID] if person else None,
            roles=sorted({*roles, *_roles(tags)}),
            is_bot=not BOT_TAGS.isdisjoint(tags),
        ),
    )


def _roles(tags: Mapping[str, str]) -> set[str]:
    """Return what Twitch says of a person, such as {"moderator", "subscriber"}."""
    roles = {badge.partition("/")[0] for badge in tags.get("badges", "").split(",")}
    if "founder" in roles or tags.get("subscriber") == "1":
        roles.add("subscriber")
    if tags.get("mod") == "1":
        roles.add("moderator")
    return roles & TWITCH_ROLES
