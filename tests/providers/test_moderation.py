"""A provider's moderation: what is sent, what is read, and what its failures are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers import OpenAIProvider, OpenRouterProvider, ScriptedProvider
from providers.base import LLMProvider, Moderation
from providers.chain.moderator import Moderator
from providers.errors import ProviderError
from tests.fakes.llm_server import MODERATIONS, Behaviour, LLMServer

MODEL = "omni-moderation-latest"


def provider(server: LLMServer, name: str = "judge", **more: Any) -> OpenAIProvider:
    return OpenAIProvider(
        {"base_url": f"{server.url}/v1", "api_key": "sk-judge", **more}, name=name
    )


@pytest.fixture
async def judge(llm: LLMServer) -> AsyncIterator[Moderator]:
    llm.flags = {"kill": "violence", "idiot": "harassment"}
    moderator = Moderator(provider(llm), MODEL, 30.0)
    yield moderator
    await moderator.aclose()


def judgement(**result: Any) -> Behaviour:
    return Behaviour(body={"results": [result]})


async def test_a_text_is_judged_with_its_categories(judge: Moderator, llm: LLMServer) -> None:
    assert await judge.judge("Hello") == Moderation(False)
    assert await judge.judge("I kill you, idiot") == Moderation(True, ("harassment", "violence"))
    first = llm.requests[0]
    assert (first.path, first.body) == (MODERATIONS, {"model": MODEL, "input": "Hello"})
    assert first.headers["authorization"] == "Bearer sk-judge"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (judgement(flagged=True, categories={}), Moderation(True, ("flagged",))),
        (judgement(flagged=True), Moderation(True, ("flagged",))),
        (judgement(flagged=False, categories={"hate": True}), Moderation(False)),
        (
            judgement(
                flagged=True, categories={"hate": True, "alice said: x": True, "e" * 65: True}
            ),
            Moderation(True, ("hate",)),
        ),
        (
            Behaviour(body={"results": [{"flagged": False}, {"flagged": True}]}),
            Moderation(True, ("flagged",)),
        ),
    ],
)
async def test_only_names_of_categories_are_taken(
    judge: Moderator, llm: LLMServer, answer: Behaviour, found: Moderation
) -> None:
    llm.routes[MODERATIONS] = answer
    assert await judge.judge("x") == found


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Behaviour(status=500), "provider_unavailable"),
        (Behaviour(status=429), "rate_limited"),
        (Behaviour(status=401, body={"error": {"message": "no"}}), "provider_auth"),
        (Behaviour(drop=True), "provider_unavailable"),
        (Behaviour(body={"results": []}), "provider_error"),
        (Behaviour(body={"results": [{"flagged": "no"}]}), "provider_error"),
        (Behaviour(body={"results": {"flagged": False}}), "provider_error"),
        (Behaviour(body="[]"), "provider_error"),
        (Behaviour(body="Hello"), "provider_error"),
    ],
)
async def test_what_is_no_judgement_is_a_failure(
    judge: Moderator, llm: LLMServer, answer: Behaviour, code: str
) -> None:
    llm.routes[MODERATIONS] = answer
    with pytest.raises(ProviderError) as caught:
        await judge.judge("x")
    assert caught.value.code == code
    del llm.routes[MODERATIONS]
    assert await judge.judge("x") == Moderation(False)


async def test_a_server_that_hangs_has_a_time_limit(llm: LLMServer) -> None:
    llm.routes[MODERATIONS] = Behaviour(hold=asyncio.Event())
    moderator = Moderator(provider(llm), MODEL, 0.05)
    with pytest.raises(ProviderError, match=r"judge judged nothing within 0.05 s"):
        await moderator.judge("x")
    await llm.wait_for_disconnects(1)
    await moderator.aclose()


async def test_a_lost_connection_is_tried_once_more(llm: LLMServer) -> None:
    class Flaky(ScriptedProvider):
        asked = 0

        async def moderate(self, text: str, model: str) -> Moderation:
            self.asked += 1
            if self.asked == 1:
                return await lost.moderate(text, model)
            return Moderation(False)

    lost = provider(llm)
    llm.routes[MODERATIONS] = Behaviour(drop=True)
    flaky = Flaky()
    moderator = Moderator(flaky, MODEL, 30.0)
    assert await moderator.judge("x") == Moderation(False)
    assert flaky.asked == 2
    await lost.aclose()
    await moderator.aclose()


async def test_a_strangers_provider_may_raise_anything() -> None:
    class Broken(ScriptedProvider):
        async def moderate(self, text: str, model: str) -> Moderation:
            raise KeyError(text)

    moderator = Moderator(Broken(), MODEL, 30.0)
    with pytest.raises(ProviderError, match="failed: KeyError"):
        await moderator.judge("x")
    await moderator.aclose()


async def test_it_is_logged_once_that_none_judges_and_once_that_one_does_again(
    judge: Moderator, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    llm.routes[MODERATIONS] = Behaviour(status=500, body={"error": {"message": "I read: secret"}})
    for _ in range(3):
        with pytest.raises(ProviderError):
            await judge.judge("secret")
    del llm.routes[MODERATIONS]
    for _ in range(3):
        await judge.judge("secret")
    said = [each.getMessage() for each in caplog.records if each.name == "rosey_llm.safety"]
    assert [line.partition(":")[0] for line in said] == [
        "judge cannot judge what is said",
        "judge judges again.",
    ]
    assert "secret" not in "".join(said)


@pytest.mark.parametrize("kind", [ScriptedProvider, OpenRouterProvider])
async def test_most_providers_have_no_moderation(kind: type[LLMProvider]) -> None:
    assert kind.moderate is LLMProvider.moderate
    with pytest.raises(ProviderError, match="has no moderation"):
        await kind({}).moderate("x", MODEL)
