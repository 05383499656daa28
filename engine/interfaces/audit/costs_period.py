"""The period of the costs page: its days, and what was used in them as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from datasette.utils.asgi import BadRequest, Request

from engine.accounting import scopes
from engine.accounting.days import EPOCH
from engine.interfaces.audit.chart import Chart, Column, chart
from engine.interfaces.audit.filters import usd
from engine.interfaces.audit.reading import words
from engine.interfaces.reports.output import counted
from storage.usage import Sums

Tab = Literal["7", "30", "90", "365", ""]
TABS: dict[Tab, str] = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "A year"}
USUAL: Tab = "30"
MOST_DAYS = 3660
MOST_BARS = 93  # of days; a longer period is drawn by the month
WIDTH, LEFT = 470.0, 46.0  # two charts stand side by side
PARTS = {"cached": "in cached prompts", "prompts": "in other prompts", "written": "in answers"}
NOTHING = Sums(scopes.ALL, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class CostsPeriod:
    """Days, both included.

    tab: the one of TABS that they are; "" for days that were typed.
    is_past: whether these are the last days of a copy that ends before the usual ones.
    """

    first: date
    last: date
    tab: Tab
    is_past: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """The days as numbers."""
        return (self.first - EPOCH).days, (self.last - EPOCH).days

    @property
    def by_month(self) -> bool:
        return (self.last - self.first).days >= MOST_BARS

    def bars(self, found: Sequence[Sums]) -> list[tuple[date, Sums]]:
        """Return the start and the sums of each bar, oldest first; `found` is day by day."""
        sums = {each.day: each for each in found}
        bars: dict[date, Sums] = {}
        first, last = self.span
        for day in range(first, last + 1):
            at = EPOCH + timedelta(days=day)
            start = at.replace(day=1) if self.by_month else at
            bars[start] = _added(bars.get(start, NOTHING), sums.get(day, NOTHING))
        return list(bars.items())


def asked(request: Request, today: int, newest: int | None) -> CostsPeriod:
    """Return the period that the arguments name. Raises BadRequest.

    newest: the last day on which anything was used; None if nothing was.
    """
    first, last = _day(request, "from"), _day(request, "to")
    if first is None and last is None:
        tab: Tab = next((each for each in TABS if each == words(request, "days")), USUAL)
        back = int(tab) - 1
        is_past = newest is not None and newest < today - back
        end = EPOCH + timedelta(days=newest if is_past and newest is not None else today)
        return CostsPeriod(end - timedelta(days=back), end, tab, is_past)
    end = EPOCH + timedelta(days=today)
    last = last or max(end, first or end)
    first = first or last - timedelta(days=int(USUAL) - 1)
    if first > last:
        raise BadRequest("from must not be after to")
    if (last - first).days >= MOST_DAYS:
        raise BadRequest(f"from and to must be at most {MOST_DAYS:,} days")
    return CostsPeriod(first, last, "")


def charts(period: CostsPeriod, bars: Sequence[tuple[date, Sums]]) -> tuple[Chart, Chart]:
    """Return the charts of money and of tokens."""
    titles = [_titled(start, period.by_month) for start, _ in bars]
    money = [
        Column(f"{title}: {_cost(each)}", label, [("cost", each.micro_usd)])
        for (title, label), (_, each) in zip(titles, bars, strict=True)
    ]
    tokens = [
        Column(f"{title}: {_tokens(each)}", label, _layers(each))
        for (title, label), (_, each) in zip(titles, bars, strict=True)
    ]
    return (
        chart(money, usd, width=WIDTH, left=LEFT),
        chart(tokens, width=WIDTH, left=LEFT),
    )


def _day(request: Request, name: str) -> date | None:
    text = words(request, name)
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    # Python's dates end in the year 9999, and the days that are looked at begin before them.
    if not EPOCH + timedelta(days=MOST_DAYS) <= day <= date(9000, 1, 1):
        raise BadRequest(f"{name} must be a day, such as 2026-11-30")
    return day


def _titled(start: date, by_month: bool) -> tuple[str, str]:
    if by_month:
        return f"{start:%B %Y}", f"{start:%b %y}"
    return f"{start:%a}, {start.day} {start:%b}", f"{start.day} {start:%b}"


def _cost(of: Sums) -> str:
    without = f", {of.unpriced:,} without a price" if of.unpriced else ""
    return f"{usd(of.micro_usd)} ({counted(of.requests, 'request')}{without})"


def _tokens(of: Sums) -> str:
    parts = [f"{number:,} {PARTS[name]}" for name, number in _layers(of) if number]
    of_all = counted(of.prompt_tokens + of.completion_tokens, "token")
    return f"{of_all} ({', '.join(parts)})" if parts else of_all


def _layers(of: Sums) -> list[tuple[str, int]]:
    return [
        ("cached", of.cached_tokens),
        ("prompts", of.prompt_tokens - of.cached_tokens),
        ("written", of.completion_tokens),
    ]


def _added(one: Sums, other: Sums) -> Sums:
    amounts = (sum(pair) for pair in zip(one[2:], other[2:], strict=True))
    return Sums(one.scope, one.day, *amounts)
