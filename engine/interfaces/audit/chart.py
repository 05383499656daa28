"""Computes a bar chart as shapes for an inline SVG, so that the page needs no scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.interfaces.audit.filters import brief

WIDTH, HEIGHT = 720.0, 150.0
LEFT, BOTTOM, TOP = 38.0, 20.0, 8.0
GAP = 0.22
LABEL_WIDTH = 90.0


class Column(NamedTuple):
    """What a bar shows.

    title: for its tooltip. label: for the axis, as far as there is room.
    parts: from the bottom; the name of each is its CSS class and so its colour.
    """

    title: str
    label: str
    parts: Sequence[tuple[str, int]]


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


def chart(
    columns: Sequence[Column],
    shown: Callable[[int], str] = brief,
    *,
    width: float = WIDTH,
    left: float = LEFT,
) -> Chart:
    """Return a chart with one bar per column; `shown` formats the numbers at its lines."""
    top = _round_up(max((sum(value for _, value in each.parts) for each in columns), default=0))
    step = (width - left) / max(1, len(columns))
    every = max(1, -(-len(columns) // round(width / LABEL_WIDTH)))
    bars = [
        ChartBar(
            x=round(left + step * (index + GAP / 2), 1),
            width=round(step * (1 - GAP), 1),
            middle=round(left + step * (index + 0.5), 1),
            parts=_segments(each.parts, top),
            label=each.label if index % every == 0 else "",
            title=each.title,
        )
        for index, each in enumerate(columns)
    ]
    lines = [GridLine(_y(value, top), shown(value)) for value in sorted({top // 2, top} - {0})]
    return Chart(bars, lines, width, left=left)


def _segments(parts: Sequence[tuple[str, int]], top: int) -> list[ChartSegment]:
    segments = []
    below = 0
    for kind, value in parts:
        if value:
            upper, lower = _y(below + value, top), _y(below, top)
            segments.append(ChartSegment(kind, upper, round(max(lower - upper, 0.6), 1)))
            below += value
    return segments


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
