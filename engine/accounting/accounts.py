"""Charges: what each turn that asked a model adds to the sums of its user, channel, model ..."""

from __future__ import annotations

from collections.abc import Sequence

from engine.accounting import scopes
from engine.accounting.days import Days
from engine.accounting.price_list import PriceList
from engine.accounting.prices import Prices
from engine.clock import now_ms
from engine.commands.request import Request
from engine.config.settings import Settings
from providers.base import LLMProvider, Usage
from storage.usage import Charge

NOTHING = Usage(0, 0)


class Accounts:
    """Makes the charges of turns; the settings are those of one configuration.

    providers: all that may answer.
    """

    def __init__(self, settings: Settings, providers: Sequence[LLMProvider] = ()) -> None:
        billing = {each.name: each.billing for each in providers}
        price_list = PriceList(providers) if settings.accounting.price_list else None
        self.prices = Prices(settings.prices, billing, price_list)
        self.days = Days(settings.limits.timezone)

    def charge(
        self,
        request: Request,
        persona: str | None,
        provider: str,
        model: str,
        usage: Usage,
        *,
        asked: str = "",
        requests: int = 1,
        estimated: bool = False,
    ) -> Charge:
        """Return the charge of a turn.

        provider, model: who answered; "" if nobody did. asked: the model that was asked for, whose
        price holds if none is known of `model`: servers name a version ("gpt-4o-2024-08-06").
        requests: 0 for a call that was lost beside the turn's own. estimated: whether the tokens
        were not counted by the provider.
        """
        micro_usd = self.prices.micro_usd(provider, model, usage) if usage != NOTHING else 0
        if micro_usd is None and asked:
            micro_usd = self.prices.micro_usd(provider, asked, usage)
        return Charge(
            scopes.of_turn(request, persona, provider, model),
            self.days.of(now_ms()),
            requests,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            micro_usd or 0,
            int(estimated),
            int(micro_usd is None),
        )


def without_user(charge: Charge) -> Charge:
    """Return the charge of a turn whose message was erased: the totals stay."""
    kept = tuple(scope for scope in charge.scopes if not scope.startswith(scopes.USER))
    return charge._replace(scopes=kept)
