"""Tests that the official clients and ours read the same text, usage and reason from a server.

Some official clients read a bad token stream wrongly (a cut stream as a whole answer, an error
ignored). Those cases are in the tests of each provider; here are only those that must be equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import ollama
import openai
import pytest

from providers.base import Completion, LLMProvider, Message, Options, Usage
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from tests.fakes.llm_server import Behaviour, LLMServer

PROMPT = [Message("system", "Be kind."), Message("user", "Hi")]
DICTS = [{"role": message.role, "content": message.content} for message in PROMPT]
ANSWERS: list[Sequence[str]] = [
    ["Hello"],
    ["Hel", "lo ", "wörld ", "🎈", " and\nmore"],
    ["line\u0085separator", "\u2028 inside"],
    ["x" * 70_000, "y" * 70_000],
]

answers = pytest.mark.parametrize("pieces", ANSWERS, ids=["plain", "unicode", "odd", "long"])


async def streamed(provider: LLMProvider) -> Completion:
    async with provider, aclosing(provider.stream(PROMPT, Options())) as items:  # type: ignore[type-var]
        async for item in items:
            if isinstance(item, Completion):
                return item
    raise AssertionError("the stream had no end")


async def chatted(provider: LLMProvider) -> Completion:
    async with provider:
        return await provider.chat(PROMPT, Options())


@answers
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
async def test_openais_client_and_ours_read_the_same(
    llm: LLMServer, pieces: Sequence[str], finish_reason: str
) -> None:
    llm.plan(*[Behaviour(pieces=pieces, finish_reason=finish_reason)] * 4)
    config = {"base_url": f"{llm.url}/v1", "api_key": "sk-x"}
    ours = [await chatted(OpenAIProvider(config)), await streamed(OpenAIProvider(config))]
    async with openai.AsyncOpenAI(base_url=f"{llm.url}/v1", api_key="sk-x") as client:
        whole = await client.chat.completions.create(model="gpt-4", messages=DICTS)  # type: ignore[arg-type]
        text, reason, usage = "", None, None
        stream = await client.chat.completions.create(  # type: ignore[call-overload]
            model="gpt-4",
            messages=DICTS,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
            usage = chunk.usage or usage
    assert whole.usage is not None
    assert usage is not None
    theirs = [
        Completion(
            whole.choices[0].message.content or "",
            whole.model,
            whole.choices[0].finish_reason,
            Usage(whole.usage.prompt_tokens, whole.usage.completion_tokens),
        ),
        Completion(
            text, whole.model, str(reason), Usage(usage.prompt_tokens, usage.completion_tokens)
        ),
    ]
    assert ours == theirs


@pytest.mark.parametrize("pieces", [ANSWERS[0], ANSWERS[1], ANSWERS[3]])
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
async def test_ollamas_client_and_ours_read_the_same(
    llm: LLMServer, pieces: Sequence[str], finish_reason: str
) -> None:
    llm.plan(*[Behaviour(pieces=pieces, finish_reason=finish_reason)] * 4)
    config = {"base_url": llm.url}
    ours = [await chatted(OllamaProvider(config)), await streamed(OllamaProvider(config))]
    client = ollama.AsyncClient(host=llm.url)
    whole = await client.chat(model="llama3.2", messages=DICTS)
    text, last = "", whole
    async for last in await client.chat(model="llama3.2", messages=DICTS, stream=True):
        text += last.message.content or ""
    theirs = [
        Completion(
            content or "",
            said.model or "",
            said.done_reason or "",
            Usage(said.prompt_eval_count or 0, said.eval_count or 0),
        )
        for content, said in [(whole.message.content, whole), (text, last)]
    ]
    assert ours == theirs
    await client.close()  # type: ignore[no-untyped-call]
