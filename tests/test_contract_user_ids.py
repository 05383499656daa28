"""The message contract over real parts: who speaks, by the platform's id and roles."""

from __future__ import annotations

import orjson
import pytest

from tests.support.service_harness import House


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("U1", '{"user_id":"U1"}'), (12, '{"user_id":"12"}'), ("", None), (None, None)],
)
@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("rosey.command.chat", {"args": "Hi"}),
        ("llm.request", {"action": "chat", "message": "Hi"}),
        ("rosey.command.chat", {"data": {"args": "Hi"}}),
    ],
)
async def test_an_id_is_kept_from_every_input(
    house: House, subject: str, message: dict[str, object], given: object, kept: str | None
) -> None:
    inner = message.get("data", message)
    assert isinstance(inner, dict)
    body = {**inner, "channel_id": "#lobby", "user_id": given}
    answer = await house.bot.call(subject, {"data": body} if "data" in message else body)
    assert answer["content"] == "You said: Hi"
    asked, answered = (row["personal"] for row in house.rows("SELECT personal FROM history"))
    assert asked == kept
    assert orjson.loads(answered).get("user_id") == (
        orjson.loads(kept)["user_id"] if kept else None
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("x" * 129, "user_id: expected at most 128 characters, got 129."),
        (True, "user_id: expected a string, got true"),
        (1.5, "user_id: expected a string, got 1.5"),
        ("a\0b", "user_id: expected text, got NUL characters."),
    ],
)
async def test_what_is_no_id_is_refused(house: House, given: object, problem: str) -> None:
    message = {"args": "Hi", "channel_id": "#lobby", "user_id": given}
    error = await house.bot.call("rosey.command.chat", message)
    assert (error["code"], error["error"]) == ("invalid_request", problem)


@pytest.mark.parametrize("given", ["mod", {"mod": True}, 5, [5], ["mod", None]])
async def test_what_is_no_list_of_roles_is_refused(house: House, given: object) -> None:
    for subject, more in (
        ("rosey.command.chat", {"args": "Hi"}),
        ("llm.request", {"action": "chat", "message": "Hi"}),
    ):
        error = await house.bot.call(subject, {"channel_id": "#lobby", "roles": given, **more})
        assert error["code"] == "invalid_request"
        assert error["error"].startswith("roles")


async def test_roles_that_are_null_are_omitted(house: House) -> None:
    message = {"args": "Hi", "channel_id": "#lobby", "roles": None, "is_bot": "no"}
    error = await house.bot.call("rosey.command.chat", message)
    assert error["error"] == 'is_bot: expected true or false, got "no"'
    assert "content" in await house.bot.call("rosey.command.chat", message | {"is_bot": None})
