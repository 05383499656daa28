"""The JSON file that keeps the results, data/bench.json, and its tables in the documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import goals
from tests.bench.figures import Plan, Result, table

DATA = Path("data")
CACHE = DATA / "bench-cache"
FILE = DATA / "bench.json"
QUICK_FILE = DATA / "bench-quick.json"
PAGE = Path("docs/performance.md")
NAME = "results"  # of their place in the page
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

    def check_load(self, names: Iterable[str], busy: bool) -> None:
        """Raise NotPublished if one of the sections was measured on a busy machine.

        busy: not even then.
        """
        for name in names:
            facts = self.sections.get(name, {}).get("run", {}).get("facts", {})
            load = float(facts.get("load before", "0").split()[0])
            if load > BUSY and not busy:
                raise NotPublished(
                    f"Cannot publish {self.path}: the load was {load}, above {BUSY}, before {name}."
                    " Measure it again on an idle machine, or add --busy."
                )


def publish(kept: Record, names: Sequence[str], busy: bool = False) -> None:
    """Write the table into the page. names: of all sections. Raise NotPublished.

    busy: also if the machine was.
    """
    kept.check_load(names, busy)
    if missing := [name for name in names if name not in kept.sections]:
        raise NotPublished(
            f"Cannot publish {kept.path}: it has no results of {', '.join(missing)}. "
            "Measure them first."
        )
    write(PAGE, NAME, page_lines(kept))


def page_lines(kept: Record) -> Iterator[str]:
    """Yield the page's table, and when and where its figures were measured."""
    yield from table(goals.HEAD, goals.rows(goals.verdicts(kept.results)))
    yield ""
    yield from runs(kept, kept.sections)


def write(path: Path, name: str, lines: Iterable[str]) -> None:
    """Write these lines into their place in a document. Raise NotPublished."""
    path.write_text(replaced(path, name, lines))
    print(f"Written: the {name} in {path}.")


def replaced(path: Path, name: str, lines: Iterable[str]) -> str:
    """Return a document with these lines in place of the old ones. Raise NotPublished."""
    begin, end = place(name)
    before, found, rest = path.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise NotPublished(f"Cannot publish: {path} lacks the line {begin} or {end}. Restore it.")
    return "\n".join((f"{before}{begin}\n", *lines, f"\n{end}{after}"))


def place(name: str) -> tuple[str, str]:
    """Return the lines between which a document has this."""
    return f"<!-- {name}: written by make bench -->", f"<!-- end of the {name} -->"


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
