"""The settings of `[budgets]`: how many tokens, and how much money, may be used in a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from providers.validation import Limit, Range

Dollars = Annotated[float, Range(least=0)]
Scope = Literal["user", "channel", "persona", "provider", "total"]
Unit = Literal["tokens", "usd"]
Span = Literal["day", "month"]


class Budget(NamedTuple):
    """A budget that is set: `amount` is in tokens, or in millionths of a dollar.

    key: its key in the file, below `[budgets]`. name: that of the persona or provider.
    """

    key: str
    scope: Scope
    unit: Unit
    span: Span
    amount: int
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class NamedBudget:
    """What one persona or one provider may use; 0 sets no budget."""

    tokens_per_day: Limit = 0
    tokens_per_month: Limit = 0
    usd_per_day: Dollars = 0.0
    usd_per_month: Dollars = 0.0


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """What each user, each channel, and all together may use; 0 sets no budget.

    Days and months are those of `[limits] timezone`.

    by_persona, by_provider: what these may use, by name.
    unpriced: whether a model without a known price is refused while a budget of money concerns
        its turn, or asked as if it cost nothing.
    """

    user_tokens_per_day: Limit = 0
    user_tokens_per_month: Limit = 0
    user_usd_per_day: Dollars = 0.0
    user_usd_per_month: Dollars = 0.0
    channel_tokens_per_day: Limit = 0
    channel_tokens_per_month: Limit = 0
    channel_usd_per_day: Dollars = 0.0
    channel_usd_per_month: Dollars = 0.0
    total_tokens_per_day: Limit = 0
    total_tokens_per_month: Limit = 0
    total_usd_per_day: Dollars = 0.0
    total_usd_per_month: Dollars = 0.0
    by_persona: Mapping[str, NamedBudget] = field(default_factory=dict)
    by_provider: Mapping[str, NamedBudget] = field(default_factory=dict)
    unpriced: Literal["refuse", "ignore"] = "refuse"

    def of_all(self, scope: Literal["user", "channel", "total"]) -> tuple[Budget, ...]:
        """Return the budgets of each user, of each channel, or of all together."""
        return tuple(_budgets(self, scope, f"{scope}_", ""))

    def of_persona(self, name: str) -> tuple[Budget, ...]:
        return _of_named(self.by_persona, "persona", name)

    def of_provider(self, name: str) -> tuple[Budget, ...]:
        return _of_named(self.by_provider, "provider", name)

    @property
    def of_money(self) -> list[str]:
        """The keys of the budgets of money that are set."""
        every = [
            *self.of_all("user"),
            *self.of_all("channel"),
            *self.of_all("total"),
            *(budget for name in self.by_persona for budget in self.of_persona(name)),
            *(budget for name in self.by_provider for budget in self.of_provider(name)),
        ]
        return [budget.key for budget in every if budget.unit == "usd"]


def _of_named(
    tables: Mapping[str, NamedBudget], scope: Literal["persona", "provider"], name: str
) -> tuple[Budget, ...]:
    table = tables.get(name)
    return tuple(_budgets(table, scope, "", name)) if table is not None else ()


def _budgets(
    table: BudgetSettings | NamedBudget, scope: Scope, prefix: str, name: str
) -> Iterator[Budget]:
    units: tuple[Unit, ...] = ("tokens", "usd")
    spans: tuple[Span, ...] = ("day", "month")
    for unit in units:
        for span in spans:
            key = f"{prefix}{unit}_per_{span}"
            amount = getattr(table, key)
            if unit == "usd":
                amount = round(amount * 1_000_000)
            if amount:
                path = f"by_{scope}.{name}.{key}" if name else key
                yield Budget(path, scope, unit, span, amount, name)
