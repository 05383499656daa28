"""The panels of the picture: each function draws a section's results, as in the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.bench.goals import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GRAY, PURPLE = "#3b6ea8", "#dd8452", "#4a9960", "#999999", "#8172b3"
ENGINE, MISSED = BLUE, ORANGE
FURTHEST = 8.0


def goals(axes: Axes, verdicts: Sequence[Verdict]) -> None:
    """Draw a bar for each goal, on a logarithmic scale."""
    for place, each in enumerate(verdicts):
        reached = min(max(each.reached, 1 / FURTHEST), FURTHEST)
        color = GREEN if each.is_met else MISSED
        axes.barh(place, reached - 1, left=1, color=color, height=0.62)
        is_cut = reached != each.reached
        if is_cut:
            arrow = ">" if each.is_met else "<"
            axes.plot(reached, place, arrow, color=color, markersize=11, clip_on=False)
        text = f"{each.measured}   (goal {each.wanted}){'' if each.is_met else '   missed'}"
        axes.annotate(
            text,
            (max(reached, 1.0), place),
            xytext=(11 if is_cut and each.is_met else 5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color="#333333",
        )
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xlim(1 / FURTHEST, FURTHEST * 3)
    ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["1/8", "1/4", "1/2", "goal", "2x", "4x", "8x"])
    axes.set_yticks(range(len(verdicts)), [each.name for each in verdicts])
    axes.grid(visible=False)
    axes.invert_yaxis()


def throughput(axes: Axes, result: Any) -> None:
    rows = list(result["rows"].values())
    colors = [ENGINE if row["name"] == "engine" else GRAY for row in rows]
    ratios = [row["ratio"] for row in rows]
    heights = [ratio["median"] for ratio in ratios]
    errors = [
        [ratio["median"] - ratio["low"] for ratio in ratios],
        [ratio["high"] - ratio["median"] for ratio in ratios],
    ]
    names = [row["name"] for row in rows]
    axes.bar(names, heights, yerr=errors, color=colors, width=0.6, ecolor="#333333", capsize=3)
    for place, row in enumerate(rows):
        text = f"{row['answers_a_second']:,.0f}/s\n{row['cpu_us']:.0f} us"
        _above(axes, place, ratios[place]["high"], text)
    axes.axhline(0.85, color=ORANGE, linestyle="--", linewidth=1)
    axes.annotate("goal", (3.45, 0.85), va="bottom", ha="right", fontsize=8, color=ORANGE)
    axes.set_ylim(0, 1.3)


def channels(axes: Axes, result: Any) -> None:
    rows = list(result["rows"].values())
    counts = [row["channels"] for row in rows]
    lines = {
        "one at a time (hollow: calculated)": ("one_at_a_time_s", GRAY, "--"),
        "engine, !chat, streamed": ("streamed_s", ENGINE, "-"),
        "engine, whole answers": ("whole_s", PURPLE, "-"),
        "bare loop": ("bare_s", "#444444", ":"),
    }
    for name, (figure, color, style) in lines.items():
        seconds = [row[figure] for row in rows]
        axes.plot(counts, seconds, style, color=color, marker="o", markersize=3.5, label=name)
    for row in (row for row in rows if row["channels"] != result["measured"]):
        at = row["channels"], row["one_at_a_time_s"]
        axes.plot(*at, "o", color=GRAY, markersize=3.5, markerfacecolor="white")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("channels")
    axes.set_ylabel("seconds until all are answered")
    axes.legend(loc="upper left")


def latency(axes: Axes, result: Any) -> None:
    rows = list(result["rows"]["500"].values())
    for place, row in enumerate(rows):
        color = ENGINE if row["name"] == "engine" else GRAY
        axes.plot(
            [place, place], [row["p50_ms"], row["p99_ms"]], color=color, linewidth=6, alpha=0.35
        )
        axes.plot(place, row["p50_ms"], "o", color=color, markersize=8)
        axes.plot(place, row["p99_ms"], "_", color=color, markersize=16, markeredgewidth=2.5)
        for figure in ("p50_ms", "p99_ms"):
            axes.annotate(
                f"{figure[:3]}  {row[figure]:.1f} ms",
                (place, row[figure]),
                xytext=(12, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    axes.set_xticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_xlim(-0.5, len(rows) - 0.2)
    axes.set_ylim(bottom=50)
    axes.set_ylabel("milliseconds")


def overload(axes: Axes, result: Any) -> None:
    rows, capacity = result["rows"], result["capacity"]
    loads = [row["load"] for row in rows]
    ideal = [min(load, 1) * capacity for load in loads]
    answered = [row["answered_a_second"] for row in rows]
    busy = [row["busy_a_second"] for row in rows]
    axes.plot(loads, ideal, "--", color=GRAY, label="all that the model can answer")
    axes.plot(loads, answered, "-o", color=ENGINE, markersize=3.5, label="answered")
    axes.plot(loads, busy, "-o", color=ORANGE, markersize=3.5, label="refused at once: busy")
    longest = result["longest"]
    axes.annotate(
        f"{longest['load']:g}x for {longest['seconds']:g} s: memory "
        f"{result['rss_growth_mib']:+.1f} MiB,\nbusy after {longest['busy_p50_ms']:.1f} ms "
        f"(p99 {longest['busy_p99_ms']:.1f})",
        (0.02, 0.66),
        xycoords="axes fraction",
        fontsize=8,
        va="top",
    )
    axes.set_xlabel("load, as a multiple of what the model can answer")
    axes.set_ylabel("messages a second")
    axes.legend(loc="upper left")


def growth(axes: Axes, result: Any) -> None:
    rows = list(result["rows"].values())
    counts = [row["channels"] for row in rows]
    turns = [row["engine"]["answers_a_second"] for row in rows]
    axes.plot(counts, turns, "-o", color=ENGINE, markersize=3.5)
    for count, rate, row in zip(counts, turns, rows, strict=True):
        _above(axes, count, rate, f"{row['engine']['cpu_us']:.0f} us")
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_ylim(0, max(turns) * 1.2)
    axes.set_xlabel("channels")
    axes.set_ylabel("turns a second (processor time of each)", color=ENGINE)
    memory = axes.twinx()
    memory.plot(counts, [row["rss_mib"] for row in rows], "--s", color=ORANGE, markersize=3.5)
    memory.set_ylim(0, max(row["rss_mib"] for row in rows) * 2)
    memory.set_ylabel("memory, MiB", color=ORANGE)
    memory.grid(visible=False)


def rows(axes: Axes, result: Any) -> None:
    found = list(result["rows"].values())
    counts = [row["rows"] for row in found]
    kinds = {
        "a turn committed": ([row["turn"] for row in found], ENGINE),
        "a channel woken": ([row["wake"] for row in found], GREEN),
        "a search of two words": ([row["search"]["two words"] for row in found], ORANGE),
    }
    for name, (taken, color) in kinds.items():
        p50 = [each["p50_ms"] for each in taken]
        p99 = [each["p99_ms"] for each in taken]
        axes.plot(counts, p50, "-o", color=color, markersize=3.5, label=name)
        axes.plot(counts, p99, ":", color=color)
    start = [row["start_s"]["median"] * 1000 for row in found]
    axes.plot(counts, start, "--s", color=PURPLE, markersize=3.5, label="start to ready")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts, [_short(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("rows of history")
    axes.set_ylabel("milliseconds, dotted: p99")
    axes.legend(loc="upper left", ncols=2, bbox_to_anchor=(0, 0.93))


def _above(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color="#333333",
    )


def _short(count: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            return f"{count / unit:g} {name}"
    return str(count)
