"""The answers of the embedded model, with the real one, and what it says if it cannot answer."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from engine.config.personas import BUILT_IN
from providers.base import Completion, Message, Options
from providers.errors import ContextTooLong, ModelNotFound, ProviderError, ProviderUnavailable
from providers.installation import install_command
from providers.local.provider import LocalProvider
from tests.support.embedded_model import ENDLESS, EXACT, FRANCE, needs_the_model, pieces_of
from tests.support.patience import WAIT_S

pytestmark = needs_the_model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as provider:
        yield provider


async def test_only_the_tiny_model_answers_shortly_and_calmly_by_default() -> None:
    def settled(**config: object) -> tuple[float, int | None]:
        _, temperature, max_tokens = LocalProvider(config).settled(Options())
        return temperature, max_tokens

    assert settled() == settled(model_path="") == (0.2, 150)
    assert settled(temperature=0.9, max_tokens=500) == (0.9, 500)
    assert settled(model_path="big.gguf") == (0.7, 1024)
    assert settled(model_path="big.gguf", max_tokens=500) == (0.7, 500)


async def test_it_answers_sensibly(local: LocalProvider) -> None:
    completion = await local.chat(FRANCE, EXACT)

    assert "Paris" in completion.content
    assert completion.model == "smollm2-135m-instruct"
    assert completion.finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 10
    assert completion.usage.completion_tokens > 0


async def test_it_streams_in_pieces_that_join_to_the_answer(local: LocalProvider) -> None:
    *pieces, completion = [piece async for piece in local.stream(FRANCE, EXACT)]

    assert isinstance(completion, Completion)
    assert len(pieces) > 1
    assert "".join(cast("list[str]", pieces)) == completion.content
    assert "Paris" in completion.content


async def test_calls_in_a_row_and_side_by_side_are_all_answered(local: LocalProvider) -> None:
    for _ in range(2):
        assert "Paris" in [piece async for piece in local.stream(FRANCE, EXACT)][-1].content  # type: ignore[union-attr]
    answers = await asyncio.gather(*(local.chat(FRANCE, EXACT) for _ in range(3)))

    assert all("Paris" in answer.content for answer in answers)


async def test_the_token_cap_is_kept(local: LocalProvider) -> None:
    completion = await local.chat(ENDLESS, Options(max_tokens=5, temperature=0.0))

    assert completion.finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 5


async def test_a_raw_completion_is_answered(local: LocalProvider) -> None:
    completion = await local.complete("Say hello.", EXACT)

    assert completion.content


async def test_a_prompt_longer_than_one_conversations_context_is_refused_as_such(
    local: LocalProvider,
) -> None:
    # The server divides its context among its slots; each must get 2048 tokens.
    with pytest.raises(ContextTooLong, match=r"local.*\(2048 tokens\)"):
        await local.chat([Message("user", "word " * 2100)], Options())


async def test_another_model_is_not_found(local: LocalProvider) -> None:
    with pytest.raises(ModelNotFound, match="smollm2-135m-instruct"):
        await local.chat(FRANCE, Options(model="gpt-4"))
    assert await local.models() == ["smollm2-135m-instruct"]


@pytest.mark.parametrize("way", ["stream", "chat"])
async def test_a_stopped_answer_frees_its_slot(way: str) -> None:
    # There is one slot, and its answer would take more than a minute.
    config = {"parallel": 1, "context_tokens": 8192, "max_tokens": 8000}
    async with LocalProvider(config) as provider:
        if way == "stream":
            async with aclosing(pieces_of(provider, ENDLESS, Options(temperature=0.0))) as pieces:
                assert await anext(pieces)
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await provider.chat(ENDLESS, Options(temperature=0.0))
        async with asyncio.timeout(WAIT_S):
            completion = await provider.chat(FRANCE, EXACT)

        assert "Paris" in completion.content


async def test_a_missing_file_is_named_with_what_to_set(tmp_path: Path) -> None:
    provider = LocalProvider({"model_path": str(tmp_path / "tiny.gguf")}, name="small")
    with pytest.raises(ProviderUnavailable) as refused:
        await provider.chat(FRANCE, EXACT)
    status = await provider.status()
    await provider.aclose()

    assert "cannot find tiny.gguf; set providers.small.model_path" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert (status.available, status.detail) == (False, str(refused.value))


async def test_missing_packages_are_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", none)
    without_weights = await LocalProvider().status()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without_server = await LocalProvider().status()

    assert "run: rosey-llm model install" in without_weights.detail
    assert "providers.local.model_path" in without_weights.detail
    assert without_server.detail.endswith(install_command("embedded"))
    with pytest.raises(ProviderUnavailable) as refused:
        await LocalProvider().chat(FRANCE, EXACT)
    assert sys.executable not in str(refused.value)  # users may see it


async def test_the_status_does_not_start_the_child() -> None:
    provider = LocalProvider()

    assert await provider.is_available()
    assert provider.pid is None


async def test_a_file_that_is_no_model_is_refused_and_then_not_tried_for_a_while(
    tmp_path: Path,
) -> None:
    path = tmp_path / "garbage.gguf"
    path.write_bytes(b"no weights in here")
    errors: list[ProviderError] = []
    async with asyncio.timeout(WAIT_S):
        provider = LocalProvider({"model_path": str(path)})
        for _ in range(3):
            with pytest.raises(ProviderUnavailable) as refused:
                await provider.chat(FRANCE, EXACT)
            errors.append(refused.value)
        await provider.aclose()

    assert "did not start" in str(errors[0])
    assert not any(str(tmp_path) in str(error) for error in errors)
    assert [error.retry_after_s is None for error in errors] == [True, True, False]
    assert "ended 2 times in a row" in str(errors[2])


async def test_asked_for_its_name_it_says_the_bots(local: LocalProvider) -> None:
    persona = Message("system", BUILT_IN["default"].prompt)
    for question in ("What is your name?", "Who are you?"):
        answer = await local.chat([persona, Message("user", question)], EXACT)
        assert "Rosey" in answer.content, answer.content
