"""What a call costs: as the provider says, else by the table `[prices]`."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.price_table import price_of
from engine.config.settings import Price
from providers.base import Billing, Usage

MICRO = 1_000_000
MOST_MODELS = 1000  # their names come from servers
FREE = Price(input=0.0, output=0.0)


class Prices:
    """`[prices]` of the configuration: USD for a million tokens, by patterns of models' names.

    A pattern may begin with a provider's name: "openai/gpt-4o*". The first one that matches holds.

    billing: how providers charge, by their names.
    """

    def __init__(
        self, table: Mapping[str, Price], billing: Mapping[str, Billing] | None = None
    ) -> None:
        self._table = table
        self._billing = billing or {}
        self._reported: dict[tuple[str, str], float] = {}  # USD for a token, the latest
        self._found: dict[tuple[str, str], Price | None] = {}

    def of(self, provider: str, model: str) -> Price | None:
        """Return the price of a model; None if there is none."""
        if not self._table:
            return self._usual(provider)
        if (provider, model) not in self._found:
            if len(self._found) > MOST_MODELS:
                self._found.clear()
            known = price_of(self._table, provider, model)
            self._found[provider, model] = known or self._usual(provider)
        return self._found[provider, model]

    def _usual(self, provider: str) -> Price | None:
        """Return the price of what the table does not have."""
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
            return None
        cached = price.input if price.cached is None else price.cached
        plain_tokens = usage.prompt_tokens - usage.cached_tokens
        # USD for a million tokens are millionths of a dollar for one.
        return _up(
            plain_tokens * price.input
            + usage.cached_tokens * cached
            + usage.completion_tokens * price.output
        )


def _up(micro_usd: float) -> int:
    """Round up, but not for the error of a float."""
    nearest = round(micro_usd)
    return nearest if abs(micro_usd - nearest) < 1e-6 else int(micro_usd) + 1
