"""Who speaks, as a program says it to `LLMService`: as one `Sender`, or field by field."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import LLMError, LLMService
from engine.commands.outcomes import Answer
from engine.commands.sender import Sender
from engine.config.loading import parse
from providers import ScriptedProvider

MOD = Sender("alice", user_id="chat/1", roles=["mod"])
CALLS: dict[str, Callable[..., Awaitable[Answer]]] = {
    "chat": lambda service, **sender: service.chat("Hi", **sender),
    "complete": lambda service, **sender: service.complete("Hi", **sender),
    "reset": lambda service, **sender: service.reset(**sender),
    "set_persona": lambda service, **sender: service.set_persona("concise", **sender),
    "show_personas": lambda service, **sender: service.show_personas(**sender),
    "set_model": lambda service, **sender: service.set_model("default", **sender),
    "show_model": lambda service, **sender: service.show_model(**sender),
    "stop": lambda service, **sender: service.stop(**sender),
}


def service_with(tables: dict[str, Any], **more: Any) -> LLMService:
    return LLMService(ScriptedProvider(), settings=parse(tables, Path.cwd()), **more)


async def code_of(call: Awaitable[Answer]) -> tuple[str, str]:
    """Return the code and the text of a call's error; nothing if it has an answer."""
    try:
        await call
    except LLMError as exc:
        return exc.code, str(exc)
    return "", ""


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fields", [{"sender": Sender("bob")}, {"username": "bob"}])
async def test_every_call_takes_who_speaks(name: str, fields: dict[str, Any]) -> None:
    async with service_with({"permissions": {"model": "*"}}) as service:
        assert (await CALLS[name](service, **fields)).username == "bob"
        denied = {"sender": Sender("bob", is_bot=True)} if "sender" in fields else {"is_bot": True}
        assert await code_of(CALLS[name](service, **denied)) == ("not_allowed", "")


async def test_a_stream_takes_who_speaks() -> None:
    async with service_with({}) as service:
        async with service.stream("Hi", sender=MOD) as pieces:
            assert "".join([piece async for piece in pieces]) == "You said: Hi"
        assert pieces.answer.username == "alice"
        with pytest.raises(LLMError) as caught:
            await anext(service.stream("Hi", sender=Sender("r", is_bot=True)))
        assert (caught.value.code, str(caught.value)) == ("not_allowed", "")


async def test_a_role_lets_in_who_has_it() -> None:
    tables = {"permissions": {"trust_roles": True, "reset": "mod", "persona": "mod"}}
    async with service_with(tables) as service:
        for call in (service.reset, service.set_persona):
            words = () if call == service.reset else ("concise",)
            assert (await code_of(call(*words, username="alice")))[0] == "not_allowed"
            assert await code_of(call(*words, username="alice", roles=("mod",))) == ("", "")
            assert await code_of(call(*words, sender=MOD)) == ("", "")


async def test_a_limit_counts_by_the_id_and_tells_its_name() -> None:
    async with service_with({"limits": {"user_per_minute": 1}}) as service:
        await service.chat("Hi", sender=MOD)
        with pytest.raises(LLMError) as caught:
            await service.chat("Hi", username="another name", user_id="chat/1")
        assert (caught.value.code, caught.value.limit) == ("limit_reached", "user_per_minute")
        assert caught.value.scope == "user"
        assert caught.value.retry_after_s is not None
        await service.chat("Hi", username="alice")


async def test_the_id_is_kept_with_what_was_said(tmp_path: Path) -> None:
    async with service_with({}, database=tmp_path / "chat.db") as service:
        await service.chat("Hi", sender=MOD)
    with closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        found = connection.execute("SELECT username, personal FROM history").fetchall()
    assert [(name, json.loads(personal)["user_id"]) for name, personal in found] == [
        ("alice", "chat/1")
    ] * 2


@pytest.mark.parametrize(
    ("sender", "problem"),
    [
        ({"username": 5}, "username: expected a string, got 5"),
        ({"user_id": 5}, "user_id: expected a string, got 5"),
        ({"roles": "mod"}, "roles: expected a list of at most 32 words."),
        ({"roles": ["mod"] * 33}, "roles: expected a list of at most 32 words."),
        ({"roles": ["mod", 5]}, "roles[1]: expected a string, got 5"),
        ({"roles": ["x" * 65]}, "roles[0]: expected at most 64 characters, got 65."),
        ({"is_bot": "yes"}, 'is_bot: expected true or false, got "yes"'),
    ],
)
async def test_what_is_no_sender_is_an_invalid_request_that_names_it(
    sender: dict[str, Any], problem: str
) -> None:
    async with service_with({}) as service:
        assert await code_of(service.chat("Hi", **sender)) == ("invalid_request", problem)
        as_one = Sender(**sender)
        assert await code_of(service.chat("Hi", sender=as_one)) == ("invalid_request", problem)


@pytest.mark.parametrize(
    ("sender", "problem"),
    [
        ({"usrname": "alice"}, "Unexpected arguments: usrname."),
        ({"sender": MOD, "username": "x"}, "Give sender or username, not both."),
        ({"sender": "alice"}, "sender: expected a Sender, got 'alice'."),
    ],
)
async def test_a_call_that_names_its_sender_wrongly_is_an_error_of_the_program(
    sender: dict[str, Any], problem: str
) -> None:
    async with service_with({}) as service:
        with pytest.raises(TypeError) as caught:
            await service.chat("Hi", **sender)
        assert str(caught.value) == problem
