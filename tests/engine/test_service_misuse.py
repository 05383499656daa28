"""Misuse of `LLMService`: each is reported, and leaves no lasting damage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import LLMError, LLMService
from engine.errors import CannotStart
from providers import ScriptedProvider
from providers.base import Message, Options


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"temperature": 9}, "temperature: expected 0 to 2, got 9"),
        ({"temperature": float("nan")}, "temperature: expected 0 to 2, got nan"),
        ({"temperature": "hot"}, 'temperature: expected a number, got "hot"'),
        ({"max_tokens": -5}, "max_tokens: expected 1 or more, got -5"),
        ({"max_tokens": True}, "max_tokens: expected a whole number, got true"),
        ({"model": 3}, "model: expected a string, got 3"),
        ({"persona": ["x"]}, "persona: expected a string, got a list"),
        ({"channel_id": ""}, "channel_id: expected a channel's name, got nothing"),
        ({"channel_id": " "}, "channel_id: expected a channel's name, got nothing"),
        ({"channel_id": None}, "channel_id: expected a string, got nothing"),
        ({"channel_id": "\udfff"}, "channel_id: not text: character 1 is a lone surrogate"),
        ({"username": 5}, "username: expected a string, got 5"),
        ({"username": "jo\ud800"}, "username: not text: character 3 is a lone surrogate"),
        ({"request_id": 5}, "request_id: expected a string, got 5"),
        ({"request_id": "\ud800"}, "request_id: not text: character 1 is a lone surrogate"),
        ({"message": 5}, "message: expected a string, got 5"),
        ({"message": b"hi"}, "message: expected a string, got b'hi'"),
        ({"message": "a\ud800"}, "message: not text: character 2 is a lone surrogate"),
    ],
)
async def test_a_wrong_argument_is_an_invalid_request_that_names_it(
    arguments: dict[str, Any], problem: str
) -> None:
    provider = ScriptedProvider()
    async with LLMService(provider) as service:
        with pytest.raises(LLMError) as caught:
            await service.chat(**{"message": "hi"} | arguments)
        assert (await service.chat("and now?")).content == "You said: and now?"
    assert caught.value.code == "invalid_request"
    assert str(caught.value).startswith(problem)
    assert len(provider.calls) == 1


@pytest.mark.parametrize("name", [3, "\ud800"])
async def test_a_persona_or_model_that_is_not_text_is_an_invalid_request(name: Any) -> None:
    async with LLMService(ScriptedProvider()) as service:
        with pytest.raises(LLMError, match=r"^persona: ") as caught:
            await service.set_persona(name)
        assert caught.value.code == "invalid_request"
        with pytest.raises(LLMError, match=r"^model: ") as caught:
            await service.set_model(name)
        assert caught.value.code == "invalid_request"


@pytest.mark.parametrize("name", ["", " ", None])
async def test_a_caller_without_a_name_is_called_user(name: Any) -> None:
    async with LLMService(ScriptedProvider()) as service:
        assert (await service.chat("hi", username=name)).username == "User"


def test_the_name_of_a_provider_is_no_provider() -> None:
    with pytest.raises(ValueError, match="expected an LLMProvider, or several, got 'ollama'"):
        LLMService("ollama")  # type: ignore[arg-type]


async def test_a_database_in_use_is_reported_and_tried_again_by_the_next_call(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chat.db"
    second = LLMService(ScriptedProvider(), database=path)
    async with LLMService(ScriptedProvider(), database=path):
        for _ in range(2):
            with pytest.raises(CannotStart, match="is in use by"):
                await second.chat("hi")
    async with second:
        assert (await second.chat("hi")).content == "You said: hi"


async def test_a_file_that_is_no_database_is_reported_to_all_callers_and_may_be_repaired(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chat.db"
    path.write_text("This is a letter, not a database.\n" * 100)
    service = LLMService(ScriptedProvider(), database=path)
    calls = await asyncio.gather(*(service.chat("hi") for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in calls] == [CannotStart] * 3
    path.unlink()
    assert (await service.chat("hi")).content == "You said: hi"
    await service.aclose()


async def test_a_service_whose_start_failed_can_be_closed(tmp_path: Path) -> None:
    service = LLMService(ScriptedProvider(), database=tmp_path)
    with pytest.raises(CannotStart):
        await service.start()
    await service.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await service.start()


async def test_a_closed_service_says_so_and_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    service = LLMService(ScriptedProvider(), database=path)
    async with service:
        await service.chat("hi")
    with pytest.raises(RuntimeError, match="closed"):
        await service.chat("hi")
    with pytest.raises(RuntimeError, match="closed"):
        async with service:
            pass
    await service.aclose()
    async with LLMService(ScriptedProvider(), database=path):
        pass


async def test_a_service_may_be_closed_twice_at_once_and_before_its_start() -> None:
    service = LLMService(ScriptedProvider())
    await service.chat("hi")
    await asyncio.gather(service.aclose(), service.aclose())
    await LLMService(ScriptedProvider()).aclose()


async def test_a_close_during_the_start_ends_the_calls_that_wait_for_it(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    service = LLMService(ScriptedProvider(), database=path)
    call = asyncio.create_task(service.chat("hi"))
    await asyncio.sleep(0)  # now it has asked for a start, which waits for the database
    await service.aclose()
    with pytest.raises(LLMError, match="closed") as caught:
        await call
    assert caught.value.code == "busy"
    async with LLMService(ScriptedProvider(), database=path):
        pass


async def test_a_close_during_a_start_that_fails_ends_too(tmp_path: Path) -> None:
    service = LLMService(ScriptedProvider(), database=tmp_path)
    call = asyncio.create_task(service.chat("hi"))
    await asyncio.sleep(0)
    await service.aclose()
    with pytest.raises(CannotStart):
        await call


async def test_a_caller_that_leaves_during_the_start_does_not_end_it() -> None:
    service = LLMService(ScriptedProvider())
    call = asyncio.create_task(service.chat("hi"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await service.chat("me too")).content == "You said: me too"
    await service.aclose()


def test_another_event_loop_is_refused_at_once() -> None:
    service = LLMService(ScriptedProvider(script=_echo))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(service.chat("hi"))
        for misuse in (service.chat, lambda _: service.aclose()):
            with pytest.raises(RuntimeError, match="another event loop"):
                second.run(misuse("hi"))
        assert first.run(service.chat("still there?")).content == "still there?"
        first.run(service.aclose())


async def _echo(messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
    yield messages[-1].content
