"""The JSON file that keeps the results, data/bench.json, and its table in docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import goals
from tests.bench.figures import Result
from tests.bench.slices import Plan

DATA = Path("data")
FILE = DATA / "bench.json"
QUICK_FILE = DATA / "bench-quick.json"
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of the results -->"


class NotPublished(Exception):
    """Results are missing, or the page has no place for them."""


@dataclass(frozen=True)
class Run:
    """A run of the benchmark: its plan, and facts about the machine when it began."""

    plan: Plan
    facts: dict[str, str]


class Record:
    """The results of all sections, kept in a file. A section that runs again replaces its results.

    results: by section. sections: when, where and how each was measured.
    """

    def __init__(self, path: Path) -> None:
        content = orjson.loads(path.read_bytes()) if path.exists() else {}
        self.path = path
        self.results: dict[str, Any] = content.get("results", {})
        self.sections: dict[str, Any] = content.get("sections", {})

    def add(self, section: str, result: Result, run: Run, took_s: float) -> None:
        """Write the section's results to the file at once, in case a later section fails."""
        # Through JSON, so that the results now equal those read from the file later.
        self.results[section] = orjson.loads(orjson.dumps(result))
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.sections[section] = {"measured": now, "took_s": round(took_s, 1), **asdict(run)}
        content = {"sections": self.sections, "results": self.results}
        self.path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


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
        yield f"| `{each.goal.section}` | {each.name} | {each.wanted} | {each.measured} | {word} |"


def _runs(kept: Record) -> Iterator[str]:
    """Yield when and where each run was measured that has results here."""
    runs: dict[bytes, list[str]] = {}
    for name, section in kept.sections.items():
        run = {"facts": section["facts"], "plan": section["plan"]}
        runs.setdefault(orjson.dumps(run), []).append(name)
    for names in runs.values():
        first = kept.sections[names[0]]
        options = "".join(f", `--{name}`" for name in ("quick", "full") if first["plan"][name])
        facts = "; ".join(f"{name} {fact}" for name, fact in first["facts"].items())
        yield f"- {', '.join(f'`{name}`' for name in names)}: {first['measured']}{options}; {facts}"
