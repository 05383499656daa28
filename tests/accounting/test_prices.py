"""Tests of what a call costs."""

from __future__ import annotations

import pytest

from engine.accounting.prices import Prices
from engine.config.settings import Price
from providers.base import Usage

TABLE = {
    "gpt-4o-mini*": Price(input=0.15, cached=0.075, output=0.6),
    "ollama/*": Price(input=0.0, output=0.0),
    "openai/o*": Price(input=10.0, output=40.0),
}


@pytest.mark.parametrize(
    ("provider", "model", "usage", "micro_usd"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", Usage(1000, 100), 210),
        ("openai", "gpt-4o-mini", Usage(1000, 100, 400), 180),
        ("openai", "gpt-4o-mini", Usage(1, 0), 1),
        ("openai", "gpt-4o-mini", Usage(0, 0), 0),
        ("openai", "o3", Usage(2, 1), 60),
        ("openai", "o3", Usage(2, 1, 2), 60),
        ("ollama", "llama3.2", Usage(1000, 100), 0),
        ("openai", "GPT-4o-mini", Usage(1000, 100), None),
        ("openrouter", "x/y", Usage(1000, 100, cost_usd=0.0000123), 13),
        ("openai", "o3", Usage(2, 1, cost_usd=0.0), 0),
    ],
)
def test_a_call_costs_what_the_provider_says_else_by_the_table(
    provider: str, model: str, usage: Usage, micro_usd: int | None
) -> None:
    prices = Prices(TABLE)
    assert prices.micro_usd(provider, model, usage) == micro_usd
    assert prices.micro_usd(provider, model, usage) == micro_usd


def test_the_first_pattern_that_matches_holds() -> None:
    table = {"*": Price(input=1.0, output=1.0), "o3": Price(input=2.0, output=2.0)}
    assert Prices(table).micro_usd("openai", "o3", Usage(1, 1)) == 2


def test_names_that_a_server_makes_up_do_not_fill_the_memory() -> None:
    prices = Prices(TABLE)
    for number in range(5000):
        assert prices.of("openai", f"model {number}") is None
    assert prices.of("openai", "o3") == TABLE["openai/o*"]
