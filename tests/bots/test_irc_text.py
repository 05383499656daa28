"""The texts of IRC: no line is cut by a server, or is a command; what people ask; addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.interfaces.bots.irc_options import (
    IrcOptions,
    channel_name,
    nickname,
    server_address,
)
from engine.interfaces.bots.irc_text import COMMAND_MARKS, lines, question

NICKS = st.text("abcxyz[]{}`_-09", min_size=1, max_size=30)
CHANNELS = st.text("abcäöü-", min_size=1, max_size=60).map("#{}".format)
TEXTS = st.text() | st.text("ab /!.@\n\r\0\x01é👍🏽 ", max_size=1000)


@given(TEXTS, NICKS, CHANNELS)
def test_no_server_cuts_a_line_and_none_is_a_command(text: str, nick: str, channel: str) -> None:
    for line in lines(text, nick, channel):
        sent = f":{nick}!{'u' * 20}@{'h' * 63} PRIVMSG {channel} :{line}\r\n"
        assert len(sent.encode()) <= 512
        assert line.strip()
        assert line[0] not in COMMAND_MARKS
        assert line.isprintable() or not any(ord(each) < 32 for each in line)


@given(TEXTS, NICKS)
def test_nothing_but_white_space_and_control_characters_is_lost(text: str, nick: str) -> None:
    said = "".join(line.removeprefix("> ") for line in lines(text, nick, "#lobby"))
    shown = "".join(each for each in said if each.isalnum())
    assert shown == "".join(each for each in text if each.isalnum())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("!chat Hello", "Hello"),
        ("  !CHAT  Hello   there ", "Hello   there"),
        ("!chat", ""),
        ("\x0304,01!chat\x03 \x02bold\x0f \x1ditalic\x1d", "bold italic"),
        ("\x04ff0000!chat 12", "12"),
        ("!chatter", None),
        ("say !chat hello", None),
        ("hello", None),
        ("", None),
    ],
)
def test_what_a_line_asks(line: str, text: str | None) -> None:
    asked = question("alice", line, {})
    assert (asked.text if asked else None) == text


def test_each_line_without_an_id_of_the_server_has_one_of_its_own() -> None:
    first, second = (question("alice", "!chat hi", {}) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.request_id != second.request_id
    tags = {"msgid": "x" * 500, "account": "a" * 500}
    with_id = question("alice", "!chat hi", tags)
    assert with_id == question("alice", "!chat hi", tags)
    assert with_id is not None
    assert len(with_id.request_id) <= 128
    assert with_id.sender.user_id == f"irc/{'a' * 124}"


@pytest.mark.parametrize(
    ("tags", "roles"),
    [
        ({}, ()),
        ({"badges": "broadcaster/1,founder/0,bits/1"}, ("broadcaster", "subscriber")),
        ({"badges": "vip/1", "mod": "0", "subscriber": "0"}, ("vip",)),
        ({"badges": "", "mod": "1", "subscriber": "1"}, ("moderator", "subscriber")),
    ],
)
def test_the_roles_of_twitch(tags: dict[str, str], roles: tuple[str, ...]) -> None:
    asked = question("alice", "!chat hi", tags)
    assert asked is not None
    assert tuple(asked.sender.roles) == roles
    with_rights = question("alice", "!chat hi", tags, ("op",))
    assert with_rights is not None
    assert tuple(with_rights.sender.roles) == tuple(sorted({*roles, "op"}))


@pytest.mark.parametrize(
    ("tags", "is_bot"),
    [
        ({}, False),
        ({"bot": ""}, True),
        ({"draft/bot": ""}, True),
        ({"+bot": "", "bots": ""}, False),
    ],
)
def test_a_bot_is_whom_the_server_calls_one(tags: dict[str, str], is_bot: bool) -> None:
    asked = question("robot", "!chat hi", tags)
    assert asked is not None
    assert asked.sender.is_bot == is_bot


def test_no_nickname_is_the_id_of_an_account() -> None:
    account = question("bob", "!chat hi", {"account": "alice"}, platform="libera")
    stranger = question("alice", "!chat hi", {}, platform="libera")
    assert account is not None
    assert stranger is not None
    assert account.sender.user_id == "libera/alice"
    assert (stranger.sender.user_id, stranger.sender.username) == (None, "alice")


@pytest.mark.parametrize(
    ("text", "tls", "address"),
    [
        ("irc.example.org", False, ("irc.example.org", 6667)),
        ("irc.example.org", True, ("irc.example.org", 6697)),
        ("irc.example.org:7000", True, ("irc.example.org", 7000)),
        ("[::1]:7000", False, ("::1", 7000)),
        ("[::1]", False, ("::1", 6667)),
        ("::1", False, ("::1", 6667)),
    ],
)
def test_addresses(text: str, tls: bool, address: tuple[str, int]) -> None:
    assert server_address(text, tls) == address


@pytest.mark.parametrize(
    "text", ["", ":6667", "a b", "irc://x", "x:0", "x:65536", "x:a", "[::1", "[::1]7"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        server_address(text, tls=False)


def test_channels_and_nicknames() -> None:
    assert channel_name("lobby") == channel_name("#lobby") == "#lobby"
    assert channel_name("&local") == "&local"
    assert nickname("[rosey]") == "[rosey]"
    for wrong in ("#", "", "#a b", "#a,b", "#a\r\nQUIT", "#" + "x" * 300):
        with pytest.raises(ValueError, match="expected a channel"):
            channel_name(wrong)
    for wrong in ("", "a b", "a!b", "a\nQUIT", "x" * 100):
        with pytest.raises(ValueError, match="expected a nickname"):
            nickname(wrong)


def test_the_secret_is_shown_nowhere() -> None:
    options = IrcOptions(host="192.0.2.1", port=1, channels={}, nick="x", secret="open-sesame")
    assert "sesame" not in repr(options)
    assert options.shows_secret
    assert not IrcOptions(host="::1", port=1, channels={}, nick="x", secret="s").shows_secret
    assert options.address == "192.0.2.1:1"
