"""Tests of calls that are lost before their first text, which are made again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from providers.base import Completion, LLMProvider, Message, Options
from providers.errors import (
    BadAnswer,
    ConnectionLost,
    EmptyAnswer,
    IncompleteAnswer,
)
from providers.http.provider import HttpProvider
from providers.ollama import OllamaProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.chain_harness import (
    MadeUpTime,
    Stranger,
    Way,
    chained,
    every_way,
    giving,
    scripted,
    stranger,
)
from tests.support.service_harness import House

DROPPED = Behaviour(drop=True)
CUT = Behaviour(text="one two", cut_after=0)
CUT_CLEANLY = Behaviour(text="one two", cut_after=0, cut_cleanly=True)
CUT_WHILE_THINKING = Behaviour(pieces=["<think>", "Hm", "</think>", "Hi"], cut_after=2)
EMPTY = Behaviour(body=b"")
LOST = {
    "dropped": DROPPED,
    "cut": CUT,
    "cut cleanly": CUT_CLEANLY,
    "cut while thinking": CUT_WHILE_THINKING,
    "no body": EMPTY,
}
lost_in_each_way = pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())


def at(server: LLMServer, kind: type[HttpProvider], **more: Any) -> HttpProvider:
    path = "" if kind is OllamaProvider else "/v1"
    return kind({"base_url": server.url + path, "api_key": "sk-some-key", **more})


@every_way
@lost_in_each_way
async def test_a_call_that_is_lost_before_its_first_text_is_made_again(
    way: Way, lost: Behaviour, server: LLMServer, kind: type[HttpProvider]
) -> None:
    server.plan(lost, lost)
    async with at(server, kind) as provider:
        _, answered = await way(chained(MadeUpTime(), provider))
    assert answered.completion.content == "You said: hello"
    assert answered.attempts == len(server.prompts) == 3


@every_way
@lost_in_each_way
async def test_a_lost_call_is_not_made_more_often_than_max_retries_say(
    way: Way, lost: Behaviour, server: LLMServer, kind: type[HttpProvider]
) -> None:
    server.plan(*[lost] * 5)
    async with at(server, kind, max_retries=1) as provider:
        with pytest.raises((ConnectionLost, EmptyAnswer)):
            await way(chained(MadeUpTime(), provider))
    assert len(server.prompts) == 2


@every_way
@lost_in_each_way
async def test_without_retry_lost_a_lost_call_is_an_error_at_once(
    way: Way, lost: Behaviour, server: LLMServer, kind: type[HttpProvider]
) -> None:
    server.plan(lost)
    async with at(server, kind, retry_lost=False) as provider:
        with pytest.raises((ConnectionLost, EmptyAnswer)):
            await way(chained(MadeUpTime(), provider))
    assert len(server.prompts) == 1


async def test_without_retry_lost_another_provider_still_answers(server: LLMServer) -> None:
    server.plan(DROPPED)
    async with at(server, OllamaProvider, retry_lost=False) as provider:
        chain = chained(MadeUpTime(), provider, scripted("spare"))
        answered = await chain.answer(
            lambda each, options: each.chat([Message("user", "hello")], options),
            Options(),
            channel="#a",
        )
    assert answered.provider == "spare"


@every_way
async def test_a_kept_connection_that_the_server_closes_under_a_call_costs_no_answer(
    way: Way, server: LLMServer, kind: type[HttpProvider]
) -> None:
    async with at(server, kind) as provider:
        chain = chained(MadeUpTime(), provider)
        await way(chain)
        before = server.connections
        server.plan(DROPPED)
        _, answered = await way(chain)
    assert answered.completion.content == "You said: hello"
    assert answered.attempts == 2
    assert server.connections - before <= 2


async def test_what_was_shown_is_never_asked_for_again(
    server: LLMServer, kind: type[HttpProvider]
) -> None:
    server.plan(Behaviour(text="one two", cut_after=1))
    async with at(server, kind) as provider:
        chain = chained(MadeUpTime(), provider)
        pieces = chain.stream([Message("user", "hello")], Options(), channel="#a")
        assert await anext(pieces) == "one"
        with pytest.raises(IncompleteAnswer):
            await anext(pieces)
    assert len(server.prompts) == 1


class Silent(Stranger):
    """A provider whose first token streams end without text."""

    silent = 1

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        self.started += 1
        if self.started > self.silent:
            yield "Hi"
            yield Completion("Hi", "m")


async def test_a_strangers_stream_that_ends_before_its_text_is_asked_for_again() -> None:
    provider = Silent()
    items = chained(MadeUpTime(), provider).stream([], Options(), channel="#a")
    assert [item async for item in items][:1] == ["Hi"]


@every_way
@pytest.mark.parametrize(("reason", "calls"), [("stop", 3), ("length", 1), ("content_filter", 1)])
async def test_only_an_empty_answer_that_just_stopped_is_asked_for_again(
    way: Way, reason: str, calls: int
) -> None:
    made: list[object] = []

    async def act() -> Completion:
        made.append(None)
        return await giving(Completion("", "m", reason))()  # type: ignore[no-any-return]

    with pytest.raises(BadAnswer, match="gave an empty answer"):
        await way(chained(MadeUpTime(), stranger(act)))
    assert len(made) == calls


@pytest.mark.parametrize("stream", [True, False])
@lost_in_each_way
@pytest.mark.process
async def test_a_channel_hears_the_answer_of_the_second_call(
    tmp_path: Path, server: LLMServer, lost: Behaviour, stream: bool
) -> None:
    async with House(tmp_path, server) as house:
        house.config["conversation"] = {"stream": stream}
        house.config["providers"]["openai"]["max_retries"] = 1
        house.config["providers"]["ollama"] = {"base_url": server.url, "max_retries": 1}
        for name in ("openai", "ollama"):
            house.config["default_provider"] = name
            await house.open()
            server.plan(lost)
            answer = await house.bot.ask("hello")
            assert answer["content"] == "You said: hello"
            assert answer["provider"] == name
            await house.close()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.process
async def test_a_channel_hears_the_error_of_a_lost_call_if_the_settings_say_so(
    tmp_path: Path, server: LLMServer, stream: bool
) -> None:
    async with House(tmp_path, server) as house:
        house.config["conversation"] = {"stream": stream}
        house.config["providers"]["openai"] |= {"max_retries": 1, "retry_lost": False}
        await house.open()
        server.plan(DROPPED)
        error = await house.bot.ask("hello")
    assert (error["type"], error["code"]) == ("llm_error", "provider_unavailable")
    assert len(server.prompts) == 1


def test_every_kind_of_provider_has_the_setting() -> None:
    for kind in registry.KINDS:
        provider: LLMProvider = registry.build("mine", {"kind": kind, "retry_lost": False})
        assert provider.config.retry_lost is False
        assert registry.build("mine", {"kind": kind}).config.retry_lost is True
