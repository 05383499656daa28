"""Tests of who is heard, and of how often one bot answers another."""

from __future__ import annotations

import pytest

from engine.admission.access import BOT_SILENCE_S, Access
from engine.commands.records import Chat
from engine.commands.request import Request
from engine.config.settings import AccessSettings
from engine.errors import NotAllowed
from engine.texts import sentences


def request(
    username: str = "alice", user_id: str | None = None, *, channel: str = "#a", bot: bool = False
) -> Request:
    return Request(channel, "r", username, Chat("Hi"), user_id=user_id, is_bot=bot)


def refusal(access: Access, asked: Request) -> NotAllowed | None:
    try:
        access.check(asked)
    except NotAllowed as exc:
        return exc
    return None


def is_heard(settings: AccessSettings, asked: Request) -> bool:
    refused = refusal(Access(settings, lambda: 0.0), asked)
    if refused is not None:
        assert refused.is_private == (not settings.answer_denied)
        assert str(refused) == (sentences.DENIED.english if settings.answer_denied else "")
    return refused is None


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    ("name", "user_id", "heard"),
    [
        ("Spam-Bot 7", None, False),
        ("spam", "U1", False),
        ("alice", "SPAM9", False),
        ("alice", "U1", True),
        ("a spam", None, True),
    ],
)
def test_who_is_denied_by_name_or_id_is_not_heard(
    name: str, user_id: str | None, heard: bool, answered: bool
) -> None:
    settings = AccessSettings(users_deny=("spam*",), answer_denied=answered)
    assert is_heard(settings, request(name, user_id)) is heard


@pytest.mark.parametrize(
    ("name", "user_id", "heard"),
    [("U1", None, True), ("alice", "U1", True), ("U1", "U2", False), ("u12", None, False)],
)
def test_with_a_list_of_the_allowed_a_name_does_not_stand_for_an_id(
    name: str, user_id: str | None, heard: bool
) -> None:
    assert is_heard(AccessSettings(users_allow=("u1",)), request(name, user_id)) is heard


@pytest.mark.parametrize(
    ("channel", "heard"), [("irc/#a", True), ("irc/", True), ("discord/1", False), ("[x]", True)]
)
def test_only_allowed_channels_are_heard(channel: str, heard: bool) -> None:
    settings = AccessSettings(channels_allow=("irc/*", "[x]"))
    assert is_heard(settings, request(channel=channel)) is heard


def test_a_bot_is_not_heard_unless_bots_are_answered() -> None:
    assert not is_heard(AccessSettings(), request(bot=True))
    assert is_heard(AccessSettings(answer_bots=True), request(bot=True))


def test_a_bot_that_wants_more_than_three_answers_a_minute_gets_none_for_a_while() -> None:
    now_s = [0.0]
    access = Access(AccessSettings(answer_bots=True), lambda: now_s[0])

    def answered(name: str = "robot", channel: str = "#a") -> bool:
        now_s[0] += 1.0
        refused = refusal(access, request(name, bot=True, channel=channel))
        assert refused is None or refused.is_private
        return refused is None

    assert [answered() for _ in range(5)] == [True] * 3 + [False] * 2
    now_s[0] += BOT_SILENCE_S - 10
    assert not answered()
    assert answered("another")
    assert answered(channel="#b")
    access = access.apply(AccessSettings(answer_bots=True, users_deny=("x",)))
    assert not answered()
    now_s[0] += 10
    assert answered()


def test_a_bot_is_one_under_all_its_names_if_it_has_an_id() -> None:
    access = Access(AccessSettings(answer_bots=True), lambda: 0.0)

    def is_answered(name: str, user_id: str | None = None) -> bool:
        return refusal(access, request(name, user_id, bot=True)) is None

    assert [is_answered(name, "B1") for name in ("one", "two", "three", "four")] == [
        *[True] * 3,
        False,
    ]
    assert is_answered("one", "B2")
    assert [is_answered(name) for name in ("Robot", "robot", "ROBOT", "RoBoT")] == [
        *[True] * 3,
        False,
    ]
