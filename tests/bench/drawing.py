"""The picture of the results, docs/bench.svg: the goals, and one panel for each question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import goals, panels
from tests.bench.record import Record

Panel = Callable[[Any, Any], None]

# The title, the section, and the function that draws its results.
PANELS: tuple[tuple[str, str, Panel], ...] = (
    ("Turns a second, ratio to the bare loop", "throughput", panels.throughput),
    ("A message in each channel, a model that takes 200 ms", "channels", panels.channels),
    ("500 messages a second, a model that takes 50 ms", "latency", panels.latency),
    ("Overload: more than the model can answer", "overload", panels.overload),
    ("Growth with the number of channels", "growth", panels.growth),
    ("Growth with the history", "rows", panels.rows),
)
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # text stays text: the file is a third of the size, and searchable
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "rosey-llm",
}


def draw(file: Path, kept: Record) -> None:
    """Write the picture as SVG, on white so that it is readable on any page.

    Every section in PANELS must have results.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 15.5), layout="constrained", facecolor="white")
        parts = figure.subfigures(2, 1, height_ratios=(1, 1.9), hspace=0.02, squeeze=False)
        above, below = parts.flat
        top = above.subplots()
        top.set_title("How far each goal is reached; right is better (arrow: off the scale)")
        panels.goals(top, list(goals.verdicts(kept.results)))
        every = below.subplots(3, 2).flat
        for axes, (title, section, panel) in zip(every, PANELS, strict=True):
            axes.set_title(title)
            panel(axes, kept.results[section])
        below.supxlabel(_foot(kept), fontsize=7.5, color="#555555")
        # No date in the metadata, so that equal figures give an equal file.
        figure.savefig(file, format="svg", metadata={"Date": None})


def _foot(kept: Record) -> str:
    days = sorted({each["measured"][:10] for each in kept.sections.values()})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    places = dict.fromkeys(_place(each["facts"]) for each in kept.sections.values())
    return "\n".join((f"{when}; medians, with quartiles", *places))


def _place(facts: dict[str, str]) -> str:
    versions = f"Python {facts['Python'].split()[-1]}, SQLite {facts['SQLite']}"
    return (
        f"{facts['machine']}, {facts['system']}\n"
        f"{facts['packages']}, {versions}, nats-server {facts['nats-server']}"
    )
