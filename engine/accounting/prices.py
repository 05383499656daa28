"""What a call costs: as the provider says, else by the table `[prices]`, else by a price list."""

from __future__ import annotations

from collections.abc import Mapping

from engine.accounting.price_list import PriceList
from engine.config.price_table import pattern_of
from engine.config.settings import Price
from providers.base import Billing, Usage

MICRO = 1_000_000
MOST_MODELS = 1000  # their names come from servers
FREE = Price(input=0.0, output=0.0)


class Prices:
    """`[prices]` of the configuration: USD for a million tokens, by patterns of models' names.

    A pattern may begin with a provider's name: "openai/gpt-4o*". The first one that matches holds.

    billing: how providers charge, by their names.
    price_list: asked for models that no pattern matches; None for no list.
    """

    def __init__(
        self,
        table: Mapping[str, Price],
        billing: Mapping[str, Billing] | None = None,
        price_list: PriceList | None = None,
    ) -> None:
        self._table = table
        self._billing = billing or {}
        self._price_list = price_list
        self._reported: dict[tuple[str, str], float] = {}  # USD for a token, the latest
        self._found: dict[tuple[str, str], str | None] = {}

    def pattern_of(self, provider: str, model: str) -> str | None:
        """Return the pattern whose price a model has; None if none matches."""
        if not self._table:
            return None
        if (provider, model) not in self._found:
            if len(self._found) > MOST_MODELS:
                self._found.clear()
            self._found[provider, model] = pattern_of(self._table, provider, model)
        return self._found[provider, model]

    def of(self, provider: str, model: str) -> Price | None:
        """Return the price of a model, without the price list; None if there is none."""
        pattern = self.pattern_of(provider, model)
        if pattern is not None:
            return self._table[pattern]
        return FREE if self._billing.get(provider) == "free" else None

    def expected_micro_usd(self, provider: str, model: str, usage: Usage) -> int | None:
        """Return what a call will cost, as far as that can be known before it is made."""
        micro_usd = self.micro_usd(provider, model, usage)
        if micro_usd is None and self._billing.get(provider) == "reported":
            return _up(self._reported.get((provider, model), 0.0) * usage.total_tokens * MICRO)
        return micro_usd

    def micro_usd(self, provider: str, model: str, usage: Usage) -> int | None:
        """Return what a call costs, in millionths of a dollar, rounded up; None if unknown."""
        if usage.cost_usd is not None:
            if usage.total_tokens:
                if len(self._reported) > MOST_MODELS:
                    self._reported.clear()
                self._reported[provider, model] = usage.cost_usd / usage.total_tokens
            return _up(usage.cost_usd * MICRO)
        price = self.of(provider, model)
        if price is None:
            return self._listed(provider, model, usage)
        cached = price.input if price.cached is None else price.cached
        plain_tokens = usage.prompt_tokens - usage.cached_tokens
        # USD for a million tokens are millionths of a dollar for one.
        return _up(
            plain_tokens * price.input
            + usage.cached_tokens * cached
            + usage.completion_tokens * price.output
        )

    def _listed(self, provider: str, model: str, usage: Usage) -> int | None:
        if self._price_list is None:
            return None
        usd = self._price_list.usd(provider, model, usage)
        return None if usd is None else _up(usd * MICRO)


def _up(micro_usd: float) -> int:
    """Round up, but not for the error of a float."""
    nearest = round(micro_usd)
    return nearest if abs(micro_usd - nearest) < 1e-6 else int(micro_usd) + 1
