"""Tests that a prompt that Ollama cut without a word is recognised, and others are not."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from providers.base import Message
from providers.http.ollama_model import OllamaModel, is_cut
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.wire_replies import lines, ollama_at, piece, streamed, whole

LONG = [Message("user", "word " * 2000)]
SIZE_BYTES = 10_000


@pytest.mark.parametrize("tokens", [4096, 4095, 4000, 3968, 2049, 2050, 2051, 2056])
def test_a_prompt_at_the_end_or_just_over_the_half_of_the_window_was_cut(tokens: int) -> None:
    assert is_cut(tokens, SIZE_BYTES, 4096, None)


@pytest.mark.parametrize("tokens", [0, 26, 1000, 2048, 2057, 3000, 3900, 3967])
def test_a_prompt_elsewhere_was_not(tokens: int) -> None:
    assert not is_cut(tokens, SIZE_BYTES, 4096, None)


def test_a_prompt_with_fewer_bytes_than_the_window_has_tokens_fits() -> None:
    assert not is_cut(4096, 4095, 4096, None)
    assert not is_cut(500, 300, 512, None)


def test_a_small_window_has_a_small_end() -> None:
    assert is_cut(480, SIZE_BYTES, 512, None)
    assert not is_cut(479, SIZE_BYTES, 512, None)


def test_the_models_own_limit_counts_if_it_is_lower() -> None:
    assert is_cut(2040, SIZE_BYTES, 8192, 2048)
    assert not is_cut(2040, SIZE_BYTES, 8192, 131072)


@pytest.mark.parametrize(
    ("details", "limit"),
    [
        ({"model_info": {"general.architecture": "llama", "llama.context_length": 131072}}, 131072),
        ({"model_info": {"llama.context_length": "many"}}, None),
        ({"model_info": None}, None),
        ({}, None),
    ],
)
def test_a_models_limit_is_read_from_its_description(details: dict[str, Any], limit: Any) -> None:
    assert OllamaModel.of(details).context_tokens == limit


async def test_a_cut_prompt_is_marked_and_told_once_for_each_model(
    llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    llm.routes["/api/show"] = Behaviour(body={"model_info": {"llama.context_length": 131072}})
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 4090, "eval_count": 6}
    llm.plan(Behaviour(body=piece("Hi") | end), lines(piece("Hi"), end))
    async with ollama_at(llm) as provider:
        with caplog.at_level(logging.WARNING, "rosey_llm.providers"):
            answers = [await whole(provider, LONG), await streamed(provider, LONG)]
        assert not (await whole(provider, LONG)).prompt_cut
    assert [answer.prompt_cut for answer in answers] == [True, True]
    assert [record.getMessage() for record in caplog.records] == [
        "Ollama seems to have dropped the start of a prompt for model llama3.2: it read 4090 "
        "tokens. Raise providers.ollama.context_tokens (now 4096; the model's own: 131072), or "
        "lower max_context_messages."
    ]
