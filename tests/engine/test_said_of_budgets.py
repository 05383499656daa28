"""Each sentence about budgets is really said, in the words of the configuration."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.said import Case, error_of, key_of, service

DAY = {"tokens_per_day": 1}


async def refused(folder: Path, **budgets: Any) -> str:
    """Return what the second question is told, after the first has used the budget up."""
    more: dict[str, Any] = {
        "default_provider": "scripted",
        "fallback_providers": [],
        "budgets": budgets,
    }
    async with service(folder, **more) as bot:
        await bot.chat("Hi", username="alice")
        return await error_of(bot.chat("Hi", username="alice"))


async def without_a_price(folder: Path) -> str:
    async with service(folder, budgets={"total_usd_per_day": 1.0}) as bot:
        return await error_of(bot.chat("Hi"))


CASES: dict[str, Case] = {
    "budget_of_user": partial(refused, user_tokens_per_day=1),
    "budget_of_channel": partial(refused, channel_tokens_per_month=1),
    "budget_of_persona": partial(refused, by_persona={"default": DAY}),
    "budget_of_provider": partial(refused, by_provider={"scripted": DAY}),
    "budget_of_all": partial(refused, total_tokens_per_day=1),
    "price_unknown": without_a_price,
}


@pytest.mark.parametrize("key", CASES)
async def test_the_sentence_is_said_in_the_words_of_the_configuration(
    tmp_path: Path, key: str
) -> None:
    assert key_of(await CASES[key](tmp_path)) == key
