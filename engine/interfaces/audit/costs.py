"""The costs page of the audit page: what calls to models used and cost, by day and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args
from urllib.parse import urlencode

from datasette.app import Datasette
from datasette.utils.asgi import Request, Response

from engine.accounting import scopes
from engine.accounting.days import EPOCH, Days
from engine.clock import now_ms
from engine.interfaces.audit import costs_period
from engine.interfaces.audit.chart import Chart
from engine.interfaces.audit.costs_period import MOST_DAYS, TABS, CostsPeriod
from engine.interfaces.audit.reading import ask, words
from engine.interfaces.reports import usage as report
from engine.interfaces.reports.usage import By
from storage import usage
from storage.queries import channels
from storage.queries.reader import Reader
from storage.usage import Sums

PATH = "/costs"
ROWS = 100
IDS = f"{scopes.USER}id "
BY: tuple[By, ...] = get_args(By)
LINKED = ("persona", "provider", "model")  # facets of the turns page


@dataclass(frozen=True, slots=True)
class CostsRow:
    """What one key used.

    is_id: whether the key is the platform's id of a user. link: the page about it; "" for none.
    """

    key: str
    is_id: bool
    cost: str
    sums: Sums
    link: str


@dataclass(frozen=True, slots=True)
class Costs:
    """What was used in a period. has_more: whether there are more rows than these."""

    period: CostsPeriod
    total: Sums
    money: Chart
    tokens: Chart
    rows: list[CostsRow]
    has_more: bool


async def page(datasette: Datasette, request: Request) -> Response:
    by = _by(request)
    found = await ask(datasette, lambda reader: _costs(reader, request, by, datasette.timezone))
    chosen = {} if found.period.tab else {"from": found.period.first, "to": found.period.last}
    context = {
        "found": found,
        "by": by,
        "all_by": BY,
        "tabs": TABS,
        "most": ROWS,
        "timezone": datasette.timezone,
        "with_": lambda **more: f"{PATH}?{urlencode({'by': by, **more})}",
        "by_": lambda key: _address(found.period.tab, chosen, key, PATH),
        "as_json": _address(found.period.tab, chosen, by, f"{PATH}.json"),
    }
    return Response.html(await datasette.render_template("costs.html", context, request=request))


async def as_json(datasette: Datasette, request: Request) -> Response:
    """The same sums for programs: all rows, and the total."""
    by = _by(request)

    def read(reader: Reader) -> dict[str, Any]:
        period = _period(reader, request, datasette.timezone)
        rows = report.sums(reader, by, period.span, -1 if by != "day" else MOST_DAYS)
        (total,) = report.sums(reader, None, period.span, 1)
        return {
            "from": period.first.isoformat(),
            "to": period.last.isoformat(),
            "timezone": datasette.timezone,
            "by": by,
            "total": report.record(total, None),
            "rows": [report.record(each, by) for each in rows],
        }

    return Response.json(await ask(datasette, read))


def _by(request: Request) -> By:
    return next((each for each in BY if each == words(request, "by")), "model")


def _address(tab: str, chosen: dict[str, Any], by: str, path: str) -> str:
    return f"{path}?{urlencode({'by': by} | (chosen or {'days': tab}))}"


def _period(reader: Reader, request: Request, timezone: str) -> CostsPeriod:
    today = Days(timezone).of(now_ms())
    return costs_period.asked(request, today, usage.newest_day(reader))


def _costs(reader: Reader, request: Request, by: By, timezone: str) -> Costs:
    period = _period(reader, request, timezone)
    daily = usage.by_day(reader, scopes.ALL, *period.span)
    money, tokens = costs_period.charts(period, period.bars(daily))
    (total,) = report.sums(reader, None, period.span, 1)
    # Of days, the newest ones.
    sums = daily[::-1] if by == "day" else report.sums(reader, by, period.span, ROWS + 1)
    return Costs(
        period,
        total,
        money,
        tokens,
        [_row(reader, each, by) for each in sums[:ROWS]],
        has_more=len(sums) > ROWS,
    )


def _row(reader: Reader, sums: Sums, by: By) -> CostsRow:
    key = report.key_of(sums, by)
    is_id = sums.scope.startswith(IDS)
    shown = sums.scope.removeprefix(IDS) if is_id else key
    return CostsRow(shown, is_id, report.dollars(sums), sums, _link(reader, sums, by, key))


def _link(reader: Reader, sums: Sums, by: By, key: str) -> str:
    if by == "channel":
        channel_id = channels.find(reader, key)
        return "" if channel_id is None else f"/channel/{channel_id}#newest"
    if by == "day":
        at = EPOCH + timedelta(days=sums.day)
        return f"{PATH}?{urlencode({'by': 'user', 'from': at, 'to': at})}"
    return f"/turns?{urlencode({str(by): key})}" if by in LINKED else ""
