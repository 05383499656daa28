"""The JSON file that keeps the results, data/bench.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench.plan import Plan

DATA = Path("data")
FILE = DATA / "bench.json"
QUICK_FILE = DATA / "bench-quick.json"


@dataclass(frozen=True)
class Run:
    """A run of the benchmark: its plan, and facts about the machine when it began."""

    plan: Plan
    facts: dict[str, str]


class Record:
    """The results of all sections, kept in a file. A section that runs again replaces its results.

    results: by section. tables: the lines that show them. sections: when, where and how each was
    measured.
    """

    def __init__(self, path: Path) -> None:
        content = orjson.loads(path.read_bytes()) if path.exists() else {}
        self.path = path
        self.results: dict[str, Any] = content.get("results", {})
        self.tables: dict[str, list[str]] = content.get("tables", {})
        self.sections: dict[str, Any] = content.get("sections", {})

    def add(self, section: str, result: Any, lines: list[str], run: Run, took_s: float) -> None:
        """Write the section's results to the file at once, in case a later section fails."""
        # Through JSON, so that the results now equal those read from the file later.
        self.results[section] = orjson.loads(orjson.dumps(asdict(result)))
        self.tables[section] = lines
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.sections[section] = {"measured": now, "took_s": round(took_s, 1), **asdict(run)}
        content = {"sections": self.sections, "results": self.results, "tables": self.tables}
        self.path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
