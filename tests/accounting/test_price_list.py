"""The price list of the extra `prices`: whose prices it has, and what goes before it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from engine import LLMService
from engine.accounting import price_list
from engine.accounting.price_list import PriceList
from engine.accounting.prices import Prices
from engine.config.loading import parse
from engine.config.settings import Price
from providers import ScriptedProvider
from providers.base import Usage
from tests.support.scraper import Scrape

OPENAI, MINE = "https://api.openai.com/v1", "http://127.0.0.1:8080/v1"
MODEL = "gpt-4o-mini"
A_CALL = Usage(10_000, 1_000)


class Placed(ScriptedProvider):
    """A scripted provider that claims to be at an address."""

    def __init__(self, name: str, base_url: str) -> None:
        super().__init__({"default_model": MODEL}, name=name)
        self.base_url = base_url


PROVIDERS = [Placed("openai", OPENAI), Placed("vllm", MINE), ScriptedProvider(name="other")]


def usd(provider: str, model: str, usage: Usage = A_CALL) -> float | None:
    return PriceList(PROVIDERS).usd(provider, model, usage)


def test_a_known_model_has_a_price_and_costs_less_from_the_cache() -> None:
    price = usd("openai", MODEL)
    assert price is not None
    assert 0.0001 < price < 0.1
    cached = usd("openai", MODEL, Usage(10_000, 1_000, 5_000))
    assert cached is not None
    assert 0 < cached < price
    assert usd("openai", f"{MODEL}-2024-07-18") == price
    assert usd("openai", MODEL, Usage(0, 0)) == 0


def test_counts_that_cannot_be_end_no_turn() -> None:
    assert usd("openai", MODEL, Usage(10, 1, 50)) == usd("openai", MODEL, Usage(10, 1, 10))
    assert usd("openai", MODEL, Usage(-1, 1)) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [("vllm", MODEL), ("other", MODEL), ("nobody", MODEL), ("openai", "my-tune"), ("openai", "")],
)
def test_what_is_not_in_the_list_has_no_price(provider: str, model: str) -> None:
    assert usd(provider, model) is None


def test_names_that_a_server_makes_up_do_not_fill_the_memory() -> None:
    listed = PriceList(PROVIDERS)
    for number in range(3 * price_list.MODELS_KEPT):
        assert listed.usd("openai", f"made-up {number}", A_CALL) is None
    assert listed.usd("openai", MODEL, A_CALL) == usd("openai", MODEL)


def test_the_table_and_what_the_provider_says_go_first() -> None:
    table = {"gpt-4o*": Price(input=1000.0, output=0.0)}
    prices = Prices(table, price_list=PriceList(PROVIDERS))
    assert prices.micro_usd("openai", MODEL, A_CALL) == 10_000_000
    assert prices.micro_usd("openai", "gpt-4.1", Usage(1, 1, cost_usd=0.25)) == 250_000
    listed = prices.micro_usd("openai", "gpt-4.1", A_CALL)
    assert listed is not None
    assert 0 < listed < 1_000_000
    assert prices.micro_usd("vllm", "gpt-4.1", A_CALL) is None


def test_nothing_updates_the_list_in_the_background(tmp_path: Path) -> None:
    before = threading.active_count()
    price_list.prepare(parse({"accounting": {"price_list": "genai-prices"}}, tmp_path))
    usd("openai", MODEL)
    assert threading.active_count() == before


@pytest.mark.parametrize("values", [{}, {"accounting": {"price_list": "genai-prices"}}])
async def test_turns_cost_what_the_list_says_if_the_settings_ask_for_it(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    provider = Placed("openai", OPENAI)
    async with LLMService(provider, settings=parse(values, tmp_path)) as service:
        await service.chat("Hello " * 10_000)
        seen = Scrape((await service.metrics()).decode())
    assert (seen.total("cost_usd_total", provider="openai") > 0) == bool(values)
    assert seen.total("unpriced_turns_total") == int(not values)
