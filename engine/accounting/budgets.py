"""The budgets of one engine: what their users, channels, personas and providers used and reserved.

An account is what is known of one scope of the table `usage`. Before a model is asked, its turn
holds the accounts of all budgets that concern it, and reserves what it may take; the commit of its
outcome adds what it took.

step             on disk                        after a crash
held, reserved   nothing                        the attempt is counted in the mailbox; the next one
                                                is charged with a reservation for it
committed        the charges, in `usage`        nothing is left to do
added            the same                       the account is read again

An account is read while no turn holds it, and each turn that holds it adds its own charges after
their commit. So it is what the table has, and no commit is counted twice or left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from engine.accounting import scopes
from engine.accounting.days import Days
from engine.clock import now_ms
from engine.commands.request import Request
from engine.config.budget_settings import Budget
from engine.config.settings import Settings
from storage import usage
from storage.usage import Charge
from storage.writer.database import Database

LAST_DAY = 1_000_000
LOOK_AT = 8


class Account:
    """What one scope used on each day, and what running turns have reserved of it.

    first_day: the first day that it knows of; None before it was read. holders: the turns that hold
        it. reading: done once the read that runs has ended.
    is_stale: whether something was charged without holding it.
    """

    __slots__ = ("_days", "first_day", "holders", "is_stale", "reading", "reserved", "scope")

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.first_day: int | None = None
        self.holders = 0
        self.is_stale = False
        self.reading: asyncio.Future[None] | None = None
        self.reserved = {"tokens": 0, "usd": 0}
        self._days: dict[int, dict[str, int]] = {}

    @property
    def is_unread(self) -> bool:
        """Whether it is to be read, and no turn but the one that asks holds it."""
        return self.first_day is None or (self.is_stale and self.holders == 1)

    def load(self, first_day: int, sums: Iterable[usage.Sums]) -> None:
        """Take what the table has from a day on."""
        self.first_day, self._days, self.is_stale = first_day, {}, False
        for each in sums:
            self.add(each.day, each.prompt_tokens + each.completion_tokens, each.micro_usd)

    def add(self, day: int, tokens: int, micro_usd: int) -> None:
        if self.first_day is None or day < self.first_day:
            return
        known = self._days.setdefault(day, {"tokens": 0, "usd": 0})
        known["tokens"] += tokens
        known["usd"] += micro_usd

    def used(self, unit: str, days: range) -> int:
        """Return what was used on these days, and what is reserved."""
        used = sum(amounts[unit] for day, amounts in self._days.items() if day in days)
        return used + self.reserved[unit]

    def reserve(self, tokens: int, micro_usd: int) -> None:
        """Reserve this much; negative numbers give it back."""
        self.reserved["tokens"] += tokens
        self.reserved["usd"] += micro_usd

    def forget_before(self, day: int) -> None:
        """Forget days that no budget asks for any more."""
        if self.first_day is not None and self.first_day < day:
            self.first_day = day
            self._days = {each: used for each, used in self._days.items() if each >= day}


class Budgets:
    """The accounts of the scopes that have budgets; beyond `most`, the least recently used go."""

    def __init__(self, database: Database, settings: Settings, most: int = 100_000) -> None:
        self._database = database
        self._most = most
        self._accounts: dict[str, Account] = {}  # the least recently used first
        self._by_scope: Mapping[str, Sequence[Budget]]
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Use these budgets for turns that begin from now on."""
        budgets = settings.budgets
        self.settings = budgets
        self.days = Days(settings.limits.timezone)
        by_scope = {
            scopes.ALL: budgets.of_all("total"),
            scopes.USER: budgets.of_all("user"),
            scopes.CHANNEL: budgets.of_all("channel"),
        }
        for name in budgets.by_persona:
            by_scope[f"{scopes.PERSONA}{name.lower()}"] = budgets.of_persona(name)
        for name in budgets.by_provider:
            by_scope[f"{scopes.PROVIDER}{name}"] = budgets.of_provider(name)
        self._by_scope = {scope: each for scope, each in by_scope.items() if each}

    def of(self, scope: str) -> Sequence[Budget]:
        """Return the budgets of a scope."""
        if scope.startswith((scopes.USER, scopes.CHANNEL)):
            scope = scope[:2]
        return self._by_scope.get(scope, ())

    def concerning(
        self, request: Request, persona: str | None, providers: Iterable[str]
    ) -> list[str]:
        """Return the scopes with budgets that a turn concerns, whichever provider answers it."""
        if not self._by_scope:
            return []
        every = scopes.of_turn(request, persona, "", "")
        every += tuple(f"{scopes.PROVIDER}{name}" for name in providers)
        return [scope for scope in every if self.of(scope)]

    async def hold(self, names: Iterable[str]) -> dict[str, Account]:
        """Return the accounts of these scopes, and keep them until `let_go`.

        Raises StorageUnavailable.
        """
        accounts = {name: self._held(name) for name in names}
        try:
            if any(each.is_unread or each.reading for each in accounts.values()):
                await self._read(list(accounts.values()))
        except BaseException:
            self.let_go(accounts.values())
            raise
        return accounts

    def let_go(self, accounts: Iterable[Account]) -> None:
        for account in accounts:
            account.holders -= 1

    def note(self, charges: Iterable[Charge], held: Mapping[str, Account]) -> None:
        """Note charges that were committed, for a turn that still holds these accounts."""
        for charge in charges:
            for scope in charge.scopes:
                if account := held.get(scope):
                    account.add(
                        charge.day,
                        charge.prompt_tokens + charge.completion_tokens,
                        charge.micro_usd,
                    )
                elif unheld := self._accounts.get(scope):
                    unheld.is_stale = True

    def mark_stale(self, names: Iterable[str]) -> None:
        """Have the accounts of these scopes read again, once no turn holds them."""
        for name in names:
            if account := self._accounts.get(name):
                account.is_stale = True

    def forget_users(self) -> None:
        """Drop the accounts of users: some of their sums were deleted, and so were their names."""
        for name, account in list(self._accounts.items()):
            if name.startswith(scopes.USER):
                account.is_stale = True
                if not account.holders:
                    del self._accounts[name]

    def days_of(self, budget: Budget, day: int) -> range:
        """Return the days that count for a budget on a day."""
        return self.days.month_of(day) if budget.span == "month" else range(day, day + 1)

    def spent(self, account: Account, day: int) -> Budget | None:
        """Return a budget of the account of which nothing is left; None if there is none."""
        for budget in self.of(account.scope):
            if account.used(budget.unit, self.days_of(budget, day)) >= budget.amount:
                return budget
        return None

    def ratio(self, account: Account) -> float:
        """Return the used part of the account's budget; of several, the greatest."""
        day = self.days.of(now_ms())
        return max(
            account.used(budget.unit, self.days_of(budget, day)) / budget.amount
            for budget in self.of(account.scope)
        )

    def ratios(self) -> dict[str, float]:
        """Return the used part of each budget of all, of a persona or provider, by its key."""
        day = self.days.of(now_ms())
        return {
            budget.key: account.used(budget.unit, self.days_of(budget, day)) / budget.amount
            for scope, budgets in self._by_scope.items()
            if (account := self._accounts.get(scope)) and account.first_day is not None
            for budget in budgets
        }

    async def load_named(self) -> None:
        """Read the accounts that do not depend on a message, for `ratios`."""
        names = [scope for scope in self._by_scope if scope not in (scopes.USER, scopes.CHANNEL)]
        self.let_go((await self.hold(names)).values())

    def _held(self, name: str) -> Account:
        account = self._accounts.pop(name, None)
        if account is None:
            if len(self._accounts) >= self._most:
                self._make_room()
            account = Account(name)
        self._accounts[name] = account
        first_day = self._first_day()
        if account.first_day is not None and account.first_day > first_day:
            account.is_stale = True  # the clock was set back
        account.forget_before(first_day)
        account.holders += 1
        return account

    def _first_day(self) -> int:
        return self.days.month_of(self.days.of(now_ms())).start

    async def _read(self, accounts: Sequence[Account]) -> None:
        """Read those that are unread, and wait for those that another turn reads."""
        while True:
            if mine := [each for each in accounts if each.is_unread and each.reading is None]:
                await self._read_now(mine)
            elif others := {each.reading for each in accounts if each.reading is not None}:
                await asyncio.wait(others)
            else:
                return

    async def _read_now(self, accounts: Sequence[Account]) -> None:
        names, first_day = [account.scope for account in accounts], self._first_day()
        done = asyncio.get_running_loop().create_future()
        for account in accounts:
            account.reading = done
        try:
            found = await self._database.write(
                lambda connection: [
                    usage.by_day(connection, name, first_day, LAST_DAY) for name in names
                ]
            )
            for account, sums in zip(accounts, found, strict=True):
                account.load(first_day, sums)
        finally:
            for account in accounts:
                account.reading = None
            done.set_result(None)

    def _make_room(self) -> None:
        """Drop the oldest account that no turn holds; never looks at all of them."""
        oldest = islice(self._accounts.values(), LOOK_AT)
        for account in list(oldest):
            if not account.holders:
                del self._accounts[account.scope]
                return
