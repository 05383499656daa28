"""Draws pictures of turns and of usage over time, for the option `--plot` of two commands."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from engine.accounting.days import EPOCH
from engine.interfaces.reports.output import counted
from providers.installation import install_command
from storage.queries.totals import TurnTotals
from storage.usage import Sums

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

HOURLY_MS = 3 * 24 * 60 * 60 * 1000  # spans up to this are drawn by the hour
LEAST_BARS = 8  # the time axis has room for at least this many bars
BLUE, RED, ORANGE, GREEN, PURPLE = "#3b6ea8", "#c44e52", "#dd8452", "#55a868", "#8172b3"
TEAL = "#64b5cd"
MICRO = 1_000_000


class PlotNotInstalled(Exception):
    """matplotlib, an optional dependency, is not installed."""


class Layer(NamedTuple):
    """A part of each bar, above the layers before it."""

    name: str
    colour: str
    values: Sequence[float]


def draw(found: list[TurnTotals], unit: str, image: str) -> bytes:
    """Return a picture of totals by day or hour (`unit`); `image` is its format, png or svg.

    Raises PlotNotInstalled, and ValueError if there are no turns.
    """
    if not found:
        raise ValueError("There are no turns to draw.")
    figure = _new_figure(9)
    turns, tokens, latency = figure.subplots(3, 1, sharex=True)
    moments = [datetime.fromisoformat(str(each.key)) for each in found]
    ended = [
        Layer("answers", BLUE, [each.answers for each in found]),
        Layer("stopped", ORANGE, [each.cancelled for each in found]),
        Layer("errors", RED, [each.errors.total() for each in found]),
    ]
    _bars(turns, moments, ended, unit, f"Turns per {unit}", "turns")
    used = [
        Layer("prompts", GREEN, [each.prompt_tokens for each in found]),
        Layer("answers", PURPLE, [each.completion_tokens for each in found]),
    ]
    _bars(tokens, moments, used, unit, f"Tokens per {unit}", "tokens")
    _latency(latency, moments, found)
    latency.set_xlabel(f"{unit}, local time")
    _label_times(latency, moments, unit)
    return _saved(figure, image)


def draw_usage(found: list[Sums], timezone: str, image: str) -> bytes:
    """Return a picture of tokens and money by day; `image` is its format, png or svg.

    Raises PlotNotInstalled, and ValueError if nothing was used.
    """
    if not found:
        raise ValueError("There is no usage to draw in these days.")
    figure = _new_figure(6)
    tokens, money = figure.subplots(2, 1, sharex=True)
    days = [EPOCH + timedelta(days=each.day) for each in found]
    used = [
        Layer("cached prompts", TEAL, [each.cached_tokens for each in found]),
        Layer("other prompts", GREEN, [each.prompt_tokens - each.cached_tokens for each in found]),
        Layer("answers", PURPLE, [each.completion_tokens for each in found]),
    ]
    _bars(tokens, days, used, "day", "Tokens per day", "tokens")
    spent = [Layer("cost", BLUE, [each.micro_usd / MICRO for each in found])]
    unpriced = sum(each.unpriced for each in found)
    without = f", without {counted(unpriced, 'request')} of unknown price" if unpriced else ""
    _bars(money, days, spent, "day", f"Cost per day{without}", "USD")
    money.set_xlabel(f"day, {timezone}")
    _label_times(money, days, "day")
    return _saved(figure, image)


def _new_figure(height: float) -> Figure:
    try:
        import matplotlib as mpl
    except ImportError as exc:
        raise PlotNotInstalled(f"--plot needs matplotlib: {install_command('plot')}") from exc
    mpl.use("Agg")

    from matplotlib.figure import Figure

    return Figure(figsize=(10, height), layout="constrained")


def _saved(figure: Figure, image: str) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format=image.lower(), dpi=120)
    return drawn.getvalue()


def _bars(
    axes: Axes,
    moments: Sequence[date],
    layers: Sequence[Layer],
    unit: str,
    title: str,
    of: str,
) -> None:
    from matplotlib.ticker import EngFormatter, StrMethodFormatter

    wide = 0.8 if unit == "day" else 0.8 / 24
    below = [0.0] * len(moments)
    for name, colour, values in layers:
        axes.bar(moments, values, wide, below, color=colour, label=name)  # type: ignore[arg-type]
        below = [sum(pair) for pair in zip(below, values, strict=True)]
    is_money = of == "USD"
    _finish(axes, title, of, StrMethodFormatter("{x:,.6g}") if is_money else EngFormatter())


def _latency(axes: Axes, moments: list[datetime], found: list[TurnTotals]) -> None:
    from matplotlib.ticker import EngFormatter

    for name, colour, values in (
        ("p50", BLUE, [each.p50_ms for each in found]),
        ("p90", ORANGE, [each.p90_ms for each in found]),
        ("p99", RED, [each.p99_ms for each in found]),
    ):
        seconds = [math.nan if value is None else value / 1000 for value in values]
        axes.plot(moments, seconds, marker="o", ms=4, color=colour, label=name)  # type: ignore[arg-type]
    _finish(axes, "Answer time (percentiles)", "time", EngFormatter("s"))


def _finish(axes: Axes, title: str, unit: str, numbers: Formatter) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(numbers)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _label_times(axes: Axes, moments: Sequence[date], unit: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator(minticks=2, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    first, last = date2num([moments[0], moments[-1]])  # type: ignore[no-untyped-call]
    bar = 1 if unit == "day" else 1 / 24
    room = max(0.6 * bar, (LEAST_BARS * bar - (last - first)) / 2)
    axes.set_xlim(first - room, last + room)
