"""Computes a bar chart as shapes for an inline SVG, so that the page needs no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.interfaces.audit.filters import brief
from storage.queries.activity import Slice

WIDTH, HEIGHT = 720.0, 150.0
LEFT, BOTTOM, TOP = 38.0, 20.0, 8.0
GAP = 0.22
LABELS = 8


@dataclass(frozen=True, slots=True)
class ChartSegment:
    """A piece of a bar; `kind` is its CSS class and so its colour."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class ChartBar:
    x: float
    width: float
    middle: float
    parts: list[ChartSegment]
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class GridLine:
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    bars: list[ChartBar]
    lines: list[GridLine]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    base: float = HEIGHT - BOTTOM


def chart(slices: Sequence[Slice], names: Sequence[str], labels: Sequence[str]) -> Chart:
    """Return a chart with one bar per slice; `names` are for tooltips, `labels` for the axis."""
    top = _round_up(max((each.turns for each in slices), default=0))
    step = (WIDTH - LEFT) / max(1, len(slices))
    every = max(1, -(-len(slices) // LABELS))
    bars = [
        ChartBar(
            x=round(LEFT + step * (index + GAP / 2), 1),
            width=round(step * (1 - GAP), 1),
            middle=round(LEFT + step * (index + 0.5), 1),
            parts=_parts(each, top),
            label=labels[index] if index % every == 0 else "",
            title=_title(each, names[index]),
        )
        for index, each in enumerate(slices)
    ]
    lines = [GridLine(_y(value, top), brief(value)) for value in sorted({top // 2, top} - {0})]
    return Chart(bars, lines)


def _parts(each: Slice, top: int) -> list[ChartSegment]:
    parts = []
    below = 0
    for kind, count in (
        ("answered", each.answered),
        ("stopped", each.stopped),
        ("failed", each.failed),
    ):
        if count:
            upper, lower = _y(below + count, top), _y(below, top)
            parts.append(ChartSegment(kind, upper, round(max(lower - upper, 0.6), 1)))
            below += count
    return parts


def _y(value: int, top: int) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / max(1, top), 1)


def _round_up(most: int) -> int:
    """Round up to a number that is easy to read: 1, 2, 3, 4, 5, 6, 8, 10, 20, 30 ..."""
    scale = 1
    while True:
        for factor in (1, 2, 3, 4, 5, 6, 8):
            if most <= factor * scale:
                return factor * scale
        scale *= 10


def _title(each: Slice, name: str) -> str:
    about = "about " if each.about else ""
    turns = f"{name}: {about}{each.turns:,} turns"
    more = [f"{each.failed:,} failed"] if each.failed else []
    more += [f"{each.stopped:,} stopped"] if each.stopped else []
    return f"{turns} ({', '.join(more)})" if more else turns
