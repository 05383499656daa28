"""What a call costs: as the provider says, else by the table `[prices]`."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from engine.config.settings import Price
from providers.base import Usage

MICRO = 1_000_000


class Prices:
    """`[prices]` of the configuration: USD for a million tokens, by patterns of models' names.

    A pattern may begin with a provider's name: "openai/gpt-4o*". The first one that matches holds.
    """

    def __init__(self, table: Mapping[str, Price]) -> None:
        self._table = table
        self._found: dict[tuple[str, str], Price | None] = {}

    def of(self, provider: str, model: str) -> Price | None:
        """Return the price of a model; None if there is none."""
        if not self._table:
            return None
        if (provider, model) not in self._found:
            if len(self._found) > 1000:  # names come from servers
                self._found.clear()
            self._found[provider, model] = next(
                (
                    price
                    for pattern, price in self._table.items()
                    if fnmatchcase(model, pattern) or fnmatchcase(f"{provider}/{model}", pattern)
                ),
                None,
            )
        return self._found[provider, model]

    def micro_usd(self, provider: str, model: str, usage: Usage) -> int | None:
        """Return what a call costs, in millionths of a dollar, rounded up; None if unknown."""
        if usage.cost_usd is not None:
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
