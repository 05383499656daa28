"""Checks of `[budgets]` that need the whole configuration."""

from __future__ import annotations

from collections.abc import Iterator

from engine.config.price_table import pattern_of
from engine.config.rule_checks import provider_places
from engine.config.settings import Settings
from providers import validation
from providers.validation import ValidationError


def check(settings: Settings) -> None:
    """Raise ValidationError if a budget is of a persona or provider that is not there."""
    personas = [name.lower() for name in settings.personas]
    for name in settings.budgets.by_persona:
        _check_name(f"budgets.by_persona.{name}", name.lower(), personas)
    providers = list(dict.fromkeys(name for _, name in provider_places(settings)))
    for name in settings.budgets.by_provider:
        _check_name(f"budgets.by_provider.{name}", name, providers)


def notes(settings: Settings) -> Iterator[str]:
    """Name the models without a known price, if there is a budget of money."""
    if not (keys := settings.budgets.of_money) or settings.accounting.price_list:
        return  # `rosey-llm check` says which models the list does not know
    refused = settings.budgets.unpriced == "refuse"
    what = "it is not asked" if refused else "what it costs is not counted"
    for name in dict.fromkeys(name for _, name in provider_places(settings)):
        provider = settings.new_provider(name)
        model = provider.config.default_model
        if provider.billing == "unknown" and pattern_of(settings.prices, name, model) is None:
            full = f"{name}/{model}"
            yield (
                f'[budgets] {keys[0]} is set, but the price of "{full}" is not known: {what}.'
                f' Add it to [prices]: "{full}" = {{ input = 0.0, output = 0.0 }}'
            )


def _check_name(path: str, name: str, known: list[str]) -> None:
    if name not in known:
        hint = validation.suggestion(name, known) or f"; there are {', '.join(known)}"
        raise ValidationError(path, f"there is no such name{hint}")
