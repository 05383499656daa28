"""Answers that are judged before they are shown, and mentions that they do not make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine import LLMError, LLMService
from tests.fakes.llm_server import MODERATIONS, Behaviour, LLMServer
from tests.support.moderated import charged, configured, details, holding, kept, moderated, tables

BAD = "You are an idiot, alice."
WITHHELD = "The answer broke the rules of this room, so it is not shown."


@pytest.fixture
async def judge() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        server.flags = {"idiot": "harassment"}
        yield server


async def read(service: LLMService, said: str, pieces: list[str]) -> str:
    async with service.stream(said) as answer:
        async for piece in answer:
            pieces.append(piece)  # noqa: PERF401 - a failure leaves those before it
    return answer.answer.content


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refused_answer_is_neither_shown_nor_kept_but_paid_for(
    tmp_path: Path, llm: LLMServer, judge: LLMServer, stream: bool
) -> None:
    llm.plan(Behaviour(text=BAD))
    pieces: list[str] = []
    async with moderated(tmp_path, llm, judge) as service:
        with pytest.raises(LLMError) as caught:
            await (read(service, "Hi", pieces) if stream else service.chat("Hi"))
        assert (caught.value.code, str(caught.value)) == ("refused", WITHHELD)
        assert caught.value.partial is None
        found = details(tmp_path)
        assert (found["refused"], found["categories"]) == ("answer", ["harassment"])
        assert charged(tmp_path) == [(1, 11, 7)]
        await service.chat("And now?")
    assert pieces == []
    assert [row[:2] for row in kept(tmp_path)] == [
        ("message", None),
        ("error", "refused"),
        ("message", None),
        ("answer", None),
    ]
    assert [each["content"] for each in llm.prompts[1][1:]] == ["And now?"]
    assert holding(tmp_path, "idiot") == []


async def test_a_judged_answer_comes_as_a_whole_once_it_was_judged(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    text = "One two three. " * 20
    llm.plan(Behaviour(text=text))
    pieces: list[str] = []
    async with moderated(tmp_path, llm, judge) as service:
        reading = asyncio.create_task(read(service, "Hi", pieces))
        await llm.wait_for_requests(1)
        go_on = asyncio.Event()
        judge.routes[MODERATIONS] = Behaviour(hold=go_on)
        await judge.wait_for_judged(2)
        assert judge.judged == ["Hi", text]
        assert pieces == []
        go_on.set()
        assert await reading == text
    assert "".join(pieces) == text
    assert kept(tmp_path)[1] == ("answer", None, text)


async def test_a_stop_while_an_answer_is_judged_shows_nothing_of_it_and_it_is_paid_for(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    llm.plan(Behaviour(text=BAD))
    pieces: list[str] = []
    async with moderated(tmp_path, llm, judge, moderation_timeout_s=100) as service:
        reading = asyncio.create_task(read(service, "Hi", pieces))
        await llm.wait_for_requests(1)
        judge.routes[MODERATIONS] = Behaviour(hold=asyncio.Event())
        await judge.wait_for_judged(2)
        await service.stop()
        with pytest.raises(LLMError) as caught:
            await reading
        assert (caught.value.code, caught.value.partial) == ("cancelled", "")
    assert pieces == []
    assert kept(tmp_path)[1][0] == "cancelled"
    assert charged(tmp_path) == [(1, 11, 7)]
    assert holding(tmp_path, "idiot") == []


async def test_a_stopped_answer_that_was_not_judged_yet_has_an_empty_partial(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    llm.plan(Behaviour(text=BAD, hang_after=3))
    async with moderated(tmp_path, llm, judge) as service:
        reading = asyncio.create_task(read(service, "Hi", []))
        await llm.wait_for_requests(1)
        await service.stop()
        with pytest.raises(LLMError) as caught:
            await reading
        assert (caught.value.code, caught.value.partial) == ("cancelled", "")


async def test_with_patterns_alone_an_answer_still_grows(tmp_path: Path, llm: LLMServer) -> None:
    go_on = asyncio.Event()
    llm.plan(Behaviour(pieces=["spam ", "and eggs"], hold=go_on, hold_after=1))
    denied = moderated(tmp_path, llm, deny=["spam"])
    async with denied as service, service.stream("Hi") as answer:
        assert await anext(answer) == "spam "
        go_on.set()
        assert "".join([piece async for piece in answer]) == "and eggs"


async def test_an_empty_answer_is_not_judged(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    llm.plan(Behaviour(), Behaviour(text="Rosey: "))
    async with moderated(tmp_path, llm, judge) as service:
        await service.chat("Hi", username="alice")
        with pytest.raises(LLMError) as caught:
            await service.chat("And?", username="bob")
        assert caught.value.code == "provider_error"
    assert judge.judged == ["Hi", "You said: Hi", "And?"]


@pytest.mark.parametrize("with_judge", [True, False])
async def test_no_answer_makes_a_mention(
    tmp_path: Path, llm: LLMServer, judge: LLMServer, with_judge: bool
) -> None:
    llm.plan(*[Behaviour(pieces=["Hello @ev", "eryone, an", "d @", "here"])] * 3)
    config: dict[str, Any] = tables(llm, judge if with_judge else None)
    config["safety"]["neutralise"] = ["@everyone", "@here"]
    config["channels"] = {"rules": [{"match": "loud", "safety": {"neutralise": []}}]}
    shown, pieces = "Hello @\u2060everyone, and @\u2060here", list[str]()
    async with configured(tmp_path, config) as service:
        assert await read(service, "Hi", pieces) == shown
        assert (await service.chat("Hi")).content == shown
        assert (await service.chat("Hi", "loud")).content == shown.replace("\u2060", "")
    assert "".join(pieces) == shown
    assert kept(tmp_path)[1] == ("answer", None, shown)
    assert llm.prompts[1][2]["content"] == shown
