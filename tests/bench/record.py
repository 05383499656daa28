"""The JSON file that keeps the results, data/bench.json, and its table in docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import goals
from tests.bench.figures import Plan, Result

DATA = Path("data")
FILE = DATA / "bench.json"
QUICK_FILE = DATA / "bench-quick.json"
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of the results -->"


class NotPublished(Exception):
    """Results are missing, or the page has no place for them."""


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


def publish(kept: Record, names: Sequence[str]) -> None:
    """Write the table into the page. names: of all sections. Raise NotPublished."""
    if missing := [name for name in names if name not in kept.sections]:
        raise NotPublished(
            f"Cannot publish {kept.path}: it has no results of {', '.join(missing)}. "
            "Measure them first."
        )
    PAGE.write_text(with_table(PAGE.read_text(), kept))
    print(f"Written: the results in {PAGE}.")


def with_table(page: str, kept: Record) -> str:
    """Return the page with these results instead of the old ones. Raise NotPublished."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NotPublished(f"Cannot publish: {PAGE} lacks the line {BEGIN} or {END}. Restore it.")
    return "\n".join((f"{before}{begin}\n", *_table(kept), "", *_runs(kept), f"\n{end}{after}"))


def _table(kept: Record) -> Iterator[str]:
    yield "| section | what | goal | measured, median [quartiles] | |"
    yield "|---|---|---|---|---|"
    for each in goals.verdicts(kept.results):
        word = each.word.replace("MISSED", "**missed**")
        cells = (f"`{each.goal.section}`", each.name, each.goal.wanted, each.measured, word)
        yield f"| {' | '.join(cells)} |"


def _runs(kept: Record) -> Iterator[str]:
    """Yield when and where each run was measured, with its sections."""
    runs: dict[bytes, list[str]] = {}
    for name, section in kept.sections.items():
        runs.setdefault(orjson.dumps(section["run"]), []).append(name)
    for names in runs.values():
        first = kept.sections[names[0]]
        plan, facts = first["run"]["plan"], first["run"]["facts"]
        options = "".join(f", `--{name}`" for name in ("quick", "full") if plan[name])
        told = "; ".join(f"{name} {fact}" for name, fact in facts.items())
        yield f"- {', '.join(f'`{name}`' for name in names)}: {first['measured']}{options}; {told}"
