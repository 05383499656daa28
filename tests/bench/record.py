"""The JSON file that keeps the results, data/bench.json, and its table in docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import goals
from tests.bench.figures import Plan, Result

DATA = Path("data")
CACHE = DATA / "bench-cache"
FILE = DATA / "bench.json"
QUICK_FILE = DATA / "bench-quick.json"
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of the results -->"


BUSY = 0.5  # a load above which no results are published


class NotPublished(Exception):
    """Results are missing or from a busy machine, or the page has no place for them."""


class Record:
    """The results of all sections, kept in a file. A section that runs again replaces its results.

    sections: by name, each with its `result` and when, where and how it was measured.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sections: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}

    @property
    def results(self) -> dict[str, Result]:
        return {name: each["result"] for name, each in self.sections.items()}

    def add(
        self, section: str, result: Result, plan: Plan, facts: Mapping[str, str], took_s: float
    ) -> None:
        """Write the section's result to the file at once, in case a later section fails."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        run = {"plan": asdict(plan), "facts": dict(facts)}
        found = {"measured": now, "took_s": round(took_s, 1), "run": run, "result": result}
        self.sections[section] = found
        self.path.write_bytes(orjson.dumps(self.sections, option=orjson.OPT_INDENT_2) + b"\n")


def publish(kept: Record, names: Sequence[str], busy: bool = False) -> None:
    """Write the table into the page. names: of all sections. Raise NotPublished.

    busy: also if the machine was.
    """
    check_load(kept, names, busy)
    if missing := [name for name in names if name not in kept.sections]:
        raise NotPublished(
            f"Cannot publish {kept.path}: it has no results of {', '.join(missing)}. "
            "Measure them first."
        )
    PAGE.write_text(with_table(PAGE.read_text(), kept))
    print(f"Written: the results in {PAGE}.")


def check_load(kept: Record, names: Sequence[str], busy: bool) -> None:
    """Raise NotPublished if one of the sections was measured on a busy machine."""
    runs = {name: kept.sections[name]["run"]["facts"] for name in names if name in kept.sections}
    loads = {name: float(facts.get("load before", "0").split()[0]) for name, facts in runs.items()}
    if not busy and (found := [name for name, load in loads.items() if load > BUSY]):
        raise NotPublished(
            f"Cannot publish {kept.path}: the load was above {BUSY} before {', '.join(found)}. "
            "Measure them again on an idle machine, or add --busy."
        )


def with_table(page: str, kept: Record) -> str:
    """Return the page with these results instead of the old ones. Raise NotPublished."""
    return replaced(page, PAGE, BEGIN, END, [*_table(kept), "", *runs(kept, kept.sections)])


def replaced(page: str, path: Path, begin: str, end: str, lines: Iterable[str]) -> str:
    """Return a page with these lines between two others. path: names it. Raise NotPublished."""
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise NotPublished(f"Cannot publish: {path} lacks the line {begin} or {end}. Restore it.")
    return "\n".join((f"{before}{begin}\n", *lines, f"\n{end}{after}"))


def _table(kept: Record) -> Iterator[str]:
    yield "| section | what | goal | measured, median [quartiles] | |"
    yield "|---|---|---|---|---|"
    for each in goals.verdicts(kept.results):
        word = each.word.replace("MISSED", "**missed**")
        cells = (f"`{each.goal.section}`", each.name, each.goal.wanted, each.measured, word)
        yield f"| {' | '.join(cells)} |"


def runs(kept: Record, sections: Iterable[str]) -> Iterator[str]:
    """Yield when and where each run was measured, with those of the sections that it measured."""
    by_run: dict[bytes, list[str]] = {}
    for name in sections:
        by_run.setdefault(orjson.dumps(kept.sections[name]["run"]), []).append(name)
    for names in by_run.values():
        first = kept.sections[names[0]]
        plan, facts = first["run"]["plan"], first["run"]["facts"]
        options = "".join(f", `--{name}`" for name in ("quick", "full") if plan[name])
        told = "; ".join(f"{name} {fact}" for name, fact in facts.items())
        yield f"- {', '.join(f'`{name}`' for name in names)}: {first['measured']}{options}; {told}"
