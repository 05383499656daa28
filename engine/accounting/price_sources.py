"""Where the price of each configured model comes from, for people: a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from engine.accounting import price_list
from engine.accounting.accounts import Accounts
from engine.accounting.price_list import PACKAGE
from engine.config.settings import Settings
from providers.base import LLMProvider, Options, Usage

TOKENS = 10_000  # few enough for no list to charge more for a long prompt
SAID = ("openrouter",)  # kinds whose servers say what each call cost


class PriceSource(NamedTuple):
    """Where a model's price comes from, or that none is known."""

    provider: str
    model: str
    is_known: bool
    text: str


def sources(settings: Settings, providers: Iterable[LLMProvider]) -> list[PriceSource]:
    """Return the sources of the models that the settings name, of these providers.

    `price_list.prepare` must have been called.
    """
    by_name = {each.name: each for each in providers}
    accounts = Accounts(settings, list(by_name.values()))
    pairs = dict.fromkeys(_models(settings, by_name))
    return [_source(accounts, by_name[name], model) for name, model in pairs]


def _models(settings: Settings, providers: Mapping[str, LLMProvider]) -> Iterator[tuple[str, str]]:
    """Yield each provider with a model that it may be asked for."""
    for provider in providers.values():
        yield provider.name, provider.settled(Options()).model
    asked = [persona.model for persona in settings.personas.values()]
    asked += [rule.model for rule in settings.channels.rules if rule.provider is None]
    named = [(settings.default_provider, model) for model in asked]
    named += [(str(rule.provider), rule.model) for rule in settings.channels.rules if rule.provider]
    yield from ((name, model) for name, model in named if model and name in providers)


def _source(accounts: Accounts, provider: LLMProvider, model: str) -> PriceSource:
    prices, name = accounts.prices, provider.name
    pattern = prices.pattern_of(name, model)
    prompt = prices.micro_usd(name, model, Usage(TOKENS, 0))
    if provider.billing == "reported":
        return PriceSource(name, model, True, "its server says what each call costs")
    if provider.billing == "free" and pattern is None:
        return PriceSource(name, model, True, "costs nothing")
    if prompt is None:
        return PriceSource(name, model, False, "no price is known: add the model to [prices]")
    answer = prices.micro_usd(name, model, Usage(0, TOKENS)) or 0
    where = f'[prices] "{pattern}"' if pattern else f"{PACKAGE} {price_list.version()}"
    # Millionths of a dollar for one token are dollars for a million.
    usd = f"{prompt / TOKENS:g} and {answer / TOKENS:g} USD"
    return PriceSource(name, model, True, f"{usd} for a million tokens in and out, from {where}")
