"""What one turn reserves of its budgets, and what it is charged for at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.accounting import scopes
from engine.accounting.accounts import Accounts
from engine.accounting.budgets import Account, Budgets
from engine.answering.token_rates import RatesByModel
from engine.clock import now_ms
from engine.commands.records import Chat, Complete
from engine.commands.request import Request
from engine.config.budget_settings import Budget
from providers.base import CallSettings, Usage
from providers.encoded_prompt import EncodedPrompt
from providers.errors import OverBudget, ProviderOverBudget
from storage.usage import Charge

ANSWER_RESERVE_TOKENS = 1024
Charges = tuple[Charge, ...]


class Reserved(NamedTuple):
    tokens: int
    micro_usd: int


class TurnAccount:
    """The account of one turn, from before a model is asked until the commit of its outcome.

    primary: the provider that is asked first, and its model. persona: its name; None for none.
    lost: earlier attempts of the turn, which ended without an outcome. What they cost is not known,
        so each is charged with a reservation.
    held: what `Budgets.hold` returned; `let_go` gives it back.
    asked: the provider that was given the prompt last, and its model; None before that.
    """

    def __init__(
        self,
        accounts: Accounts,
        budgets: Budgets,
        rates: RatesByModel,
        request: Request,
        primary: tuple[str, str],
        persona: str | None = None,
        lost: int = 0,
        held: Mapping[str, Account] | None = None,
    ) -> None:
        self._accounts = accounts
        self._budgets = budgets
        self._rates = rates
        self._request = request
        self._primary = primary
        self._persona = persona
        self._lost = lost
        self._held = held or {}
        self.asked: tuple[str, str] | None = None
        self._admitted = primary
        self._prompt: EncodedPrompt | None = None
        self._answer_tokens = ANSWER_RESERVE_TOKENS
        self._reserved: dict[str, Reserved] = {}
        self._lost_calls: list[tuple[str, str]] = []

    def expect(self, prompt: EncodedPrompt, provider: str, asked: CallSettings) -> None:
        """Note what the first provider is asked next."""
        self._prompt, self._primary = prompt, (provider, asked.model)
        self._answer_tokens = min(asked.max_tokens or ANSWER_RESERVE_TOKENS, ANSWER_RESERVE_TOKENS)

    def admit(self, provider: str, model: str) -> None:
        """Reserve what a call may take, before its provider is given the prompt.

        Raises OverBudget if a budget is spent: then nothing is reserved for this call.
        """
        self._admitted = provider, model
        if not self._held:
            return
        own = f"{scopes.PROVIDER}{provider}"
        concerned = [
            account
            for scope, account in self._held.items()
            if scope not in self._reserved
            and (not scope.startswith(scopes.PROVIDER) or scope == own)
        ]
        if not concerned:
            return
        now = now_ms()
        day = self._budgets.days.of(now)
        for account in concerned:
            if budget := self._budgets.spent(account, day):
                raise self._over(budget, now)
        usage = self._reservation(provider, model)
        micro_usd = self._price(provider, model, usage, concerned)
        calls = 1 + self._lost
        for account in concerned:
            reserved = Reserved(usage.total_tokens * calls, micro_usd * calls)
            account.reserve(*reserved)
            self._reserved[account.scope] = reserved

    def note_asked(self) -> None:
        """Note that the provider that was admitted last is given the prompt."""
        self.asked = self._admitted

    def note_lost(self, provider: str, model: str) -> None:
        """Note a call that failed, but that the provider may charge for."""
        self._lost_calls.append((provider, model))

    def charges(
        self, provider: str, model: str, usage: Usage | None, text: str | None = None
    ) -> Charges:
        """Return what the turn cost.

        provider, model: who answered, or was cut off; "" if nobody did.
        usage: as the provider counted it. text: what it had written, if it counted nothing; None
            if that is not known.
        """
        is_estimated = usage is None and bool(provider)
        if usage is None:
            usage = self._written(provider, model, text) if is_estimated else Usage(0, 0)
        charge = self._charge(provider, model, usage, is_estimated=is_estimated)
        return (charge, *self.of_lost())

    def of_lost(self) -> Charges:
        """Return the charges for calls whose outcome was lost."""
        if not (self._lost_calls or self._lost):
            return ()
        calls = [*self._lost_calls, *[self._primary] * self._lost]
        return tuple(
            self._charge(provider, model, self._reservation(provider, model), requests=0)
            for provider, model in calls
        )

    def settle(self, charges: Charges) -> None:
        """Note that these charges were committed, and let the accounts go."""
        self._budgets.note(charges, self._held)
        self.let_go()

    def leave_open(self) -> None:
        """Let the accounts go; they are read again, since the commit was another's."""
        self._budgets.mark_stale(self._held)
        self.let_go()

    def let_go(self) -> None:
        """Give back what is reserved; safe to call again."""
        if not self._held:
            return
        for scope, reserved in self._reserved.items():
            self._held[scope].reserve(-reserved.tokens, -reserved.micro_usd)
        self._budgets.let_go(self._held.values())
        self._reserved, self._held = {}, {}

    def _charge(
        self,
        provider: str,
        model: str,
        usage: Usage,
        *,
        requests: int = 1,
        is_estimated: bool = True,
    ) -> Charge:
        writer, asked = self.asked or ("", "")
        return self._accounts.charge(
            self._request,
            self._persona,
            provider,
            model,
            usage,
            asked=asked if writer == provider else "",
            requests=requests,
            estimated=is_estimated,
        )

    def _written(self, provider: str, model: str, text: str | None) -> Usage:
        if text is None:
            return self._reservation(provider, model)
        tokens = self._rates.of(provider, model).of_text(text)
        return Usage(self._prompt_tokens(provider, model), tokens)

    def _reservation(self, provider: str, model: str) -> Usage:
        """Return what a call may take: its prompt, and an answer of a usual length."""
        return Usage(self._prompt_tokens(provider, model), self._answer_tokens)

    def _prompt_tokens(self, provider: str, model: str) -> int:
        rates = self._rates.of(provider, model)
        if self._prompt is not None:
            return rates.of_prompt(self._prompt)
        command = self._request.command
        return rates.of_text(command.text) if isinstance(command, Chat | Complete) else 0

    def _price(self, provider: str, model: str, usage: Usage, concerned: list[Account]) -> int:
        """Return what a call may cost. Raises OverBudget if nobody knows, but must."""
        micro_usd = self._accounts.prices.expected_micro_usd(provider, model, usage)
        if micro_usd is not None:
            return micro_usd
        if self._budgets.settings.unpriced == "refuse":
            for account in concerned:
                for budget in self._budgets.of(account.scope):
                    if budget.unit == "usd":
                        raise ProviderOverBudget(
                            scope="provider",
                            budget=budget.key,
                            name=model,
                        )
        return 0

    def _over(self, budget: Budget, now: int) -> OverBudget:
        days = self._budgets.days
        resets_ms = days.begins_ms(self._budgets.days_of(budget, days.of(now)).stop)
        error = ProviderOverBudget if budget.scope == "provider" else OverBudget
        return error(
            scope=budget.scope,
            budget=budget.key,
            name=budget.name,
            resets_ms=resets_ms,
            retry_after_s=max(1.0, round((resets_ms - now) / 1000)),
        )
