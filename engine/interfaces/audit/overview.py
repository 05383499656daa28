"""The front page of the audit page: turns over time, errors and the list of channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from datasette.app import Datasette
from datasette.utils.asgi import Request, Response

from engine.clock import DAY_MS, now_ms
from engine.interfaces.audit.chart import Chart, Column, chart
from engine.interfaces.audit.reading import ask, number, words
from engine.interfaces.reports.output import counted
from storage.queries import activity, backlog, recent_channels
from storage.queries.activity import Slice
from storage.queries.backlog import Backlog, StoreTotals
from storage.queries.reader import Reader

CHANNELS = 25
HOURS, DAYS = 24, 30
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Period:
    """The slices of time that the chart shows; `past` if the database ends before this period."""

    name: str
    starts: list[datetime]
    past: bool

    @property
    def starts_ms(self) -> list[int]:
        return [int(start.timestamp() * 1000) for start in self.starts]


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """The sums over all slices; `about` if a slice is an estimate."""

    turns: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    latency_ms: int | None
    errors: list[tuple[str, int]]
    about: bool


@dataclass(frozen=True, slots=True)
class Overview:
    totals: StoreTotals
    backlog: Backlog
    period: Period
    chart: Chart
    figures: PeriodTotals
    channels: recent_channels.ChannelPage


async def page(datasette: Datasette, request: Request) -> Response:
    monthly = words(request, "period") == "month"
    before, name = number(request, "before"), words(request, "name")
    overview = await ask(datasette, lambda reader: _overview(reader, monthly, before, name))
    context = {"found": overview, "name": name, "before": before}
    return Response.html(await datasette.render_template("overview.html", context, request=request))


def _overview(reader: Reader, monthly: bool, before: int | None, name: str) -> Overview:
    until_ms = now_ms()
    totals = backlog.totals(reader)
    period = period_until(monthly, until_ms, totals.newest_ms)
    slices = activity.slices(reader, period.starts_ms)
    return Overview(
        totals,
        backlog.backlog(reader, until_ms),
        period,
        _chart(period, slices),
        _figures(slices),
        recent_channels.recent_channels(reader, before=before, limit=CHANNELS, name=name),
    )


def period_until(monthly: bool, now_ms: int, newest_ms: int | None) -> Period:
    """Return the period up to now, or up to the newest row if the database is an old copy."""
    length_ms = DAYS * DAY_MS if monthly else DAY_MS
    past = newest_ms is not None and newest_ms < now_ms - length_ms
    end_ms = newest_ms if past and newest_ms is not None else now_ms
    end = datetime.fromtimestamp(end_ms / 1000)
    if monthly:
        today = end.replace(hour=0, minute=0, second=0, microsecond=0)
        starts = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    else:
        hour = end.replace(minute=0, second=0, microsecond=0)
        # By seconds, since a local hour may come twice, or not at all.
        hour_s = hour.timestamp()
        starts = [datetime.fromtimestamp(hour_s - back * HOUR_S) for back in reversed(range(HOURS))]
    return Period("month" if monthly else "day", starts, past)


def _chart(period: Period, slices: list[Slice]) -> Chart:
    is_month = period.name == "month"
    return chart(
        [
            _column(each, _name(start, is_month), _label(start, is_month))
            for each, start in zip(slices, period.starts, strict=True)
        ]
    )


def _name(start: datetime, is_month: bool) -> str:
    return f"{start:%a}, {start.day} {start:%b}" if is_month else f"{start:%a, %H:%M}"


def _label(start: datetime, is_month: bool) -> str:
    return f"{start.day} {start:%b}" if is_month else f"{start:%H:%M}"


def _column(each: Slice, name: str, label: str) -> Column:
    parts = (("answered", each.answered), ("stopped", each.stopped), ("failed", each.failed))
    title = f"{name}: {'about ' if each.about else ''}{counted(each.turns, 'turn')}"
    more = [f"{each.failed:,} failed"] if each.failed else []
    more += [f"{each.stopped:,} stopped"] if each.stopped else []
    return Column(f"{title} ({', '.join(more)})" if more else title, label, parts)


def _figures(slices: list[Slice]) -> PeriodTotals:
    errors: Counter[str] = Counter()
    for each in slices:
        errors.update(each.errors)
    answered = sum(each.answered for each in slices)
    latency_ms = sum(each.latency_ms for each in slices)
    about = any(each.about for each in slices)
    shown = activity.estimate if about else int
    return PeriodTotals(
        shown(sum(each.turns for each in slices)),
        shown(errors.total()),
        shown(sum(each.prompt_tokens for each in slices)),
        shown(sum(each.completion_tokens for each in slices)),
        shown(latency_ms / answered) if answered else None,
        [(code, shown(count)) for code, count in errors.most_common()],
        about,
    )
