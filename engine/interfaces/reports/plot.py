"""`rosey-llm history stats --plot`: draws turns, tokens and latency over time."""

from __future__ import annotations

import io
import math
from datetime import datetime
from typing import TYPE_CHECKING

from providers.installation import install_command
from storage.queries.totals import TurnTotals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Formatter

HOURLY_MS = 3 * 24 * 60 * 60 * 1000  # spans up to this are drawn by the hour
LEAST_BARS = 8  # the time axis has room for at least this many bars
BLUE, RED, ORANGE, GREEN, PURPLE = "#3b6ea8", "#c44e52", "#dd8452", "#55a868", "#8172b3"


class PlotNotInstalled(Exception):
    """matplotlib, an optional dependency, is not installed."""


def draw(found: list[TurnTotals], unit: str, image: str) -> bytes:
    """Return a picture of totals by day or hour (`unit`); `image` is its format, png or svg.

    Raises PlotNotInstalled, and ValueError if there are no turns.
    """
    if not found:
        raise ValueError("There are no turns to draw.")
    try:
        import matplotlib as mpl
    except ImportError as exc:
        raise PlotNotInstalled(f"--plot needs matplotlib: {install_command('plot')}") from exc
    mpl.use("Agg")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), layout="constrained")
    turns, tokens, latency = figure.subplots(3, 1, sharex=True)
    moments = [_moment(each) for each in found]
    _turns(turns, moments, found, unit)
    _tokens(tokens, moments, found, unit)
    _latency(latency, moments, found)
    latency.set_xlabel(f"{unit}, local time")
    _label_times(latency, moments, unit)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=image.lower(), dpi=120)
    return drawn.getvalue()


def _moment(total: TurnTotals) -> datetime:
    return datetime.fromisoformat(str(total.key))


def _turns(axes: Axes, moments: list[datetime], found: list[TurnTotals], unit: str) -> None:
    from matplotlib.ticker import EngFormatter

    answered = [each.answers for each in found]
    stopped = [each.cancelled for each in found]
    failed = [each.errors.total() for each in found]
    below = [sum(pair) for pair in zip(answered, stopped, strict=True)]
    wide = 0.8 if unit == "day" else 0.8 / 24
    axes.bar(moments, answered, wide, color=BLUE, label="answers")  # type: ignore[arg-type]
    axes.bar(moments, stopped, wide, answered, color=ORANGE, label="stopped")  # type: ignore[arg-type]
    axes.bar(moments, failed, wide, below, color=RED, label="errors")  # type: ignore[arg-type]
    _finish(axes, f"Turns per {unit}", "turns", EngFormatter())


def _tokens(axes: Axes, moments: list[datetime], found: list[TurnTotals], unit: str) -> None:
    from matplotlib.ticker import EngFormatter

    prompt = [each.prompt_tokens for each in found]
    answer = [each.completion_tokens for each in found]
    wide = 0.8 if unit == "day" else 0.8 / 24
    axes.bar(moments, prompt, wide, color=GREEN, label="prompts")  # type: ignore[arg-type]
    axes.bar(moments, answer, wide, prompt, color=PURPLE, label="answers")  # type: ignore[arg-type]
    _finish(axes, f"Tokens per {unit}", "tokens", EngFormatter())


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


def _label_times(axes: Axes, moments: list[datetime], unit: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator(minticks=2, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    first, last = date2num([moments[0], moments[-1]])  # type: ignore[no-untyped-call]
    bar = 1 if unit == "day" else 1 / 24
    room = max(0.6 * bar, (LEAST_BARS * bar - (last - first)) / 2)
    axes.set_xlim(first - room, last + room)
