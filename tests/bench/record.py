"""The file that holds what was measured, as JSON."""

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
    """How much was to be measured, and the facts of the machine when it began."""

    plan: Plan
    facts: dict[str, str]


class Record:
    """results: by section; tables: the lines of each; sections: when, where and how each was
    measured.

    A section that is measured again takes the place of what it was; the others stay.
    """

    def __init__(self, path: Path) -> None:
        content = orjson.loads(path.read_bytes()) if path.exists() else {}
        self.path = path
        self.results: dict[str, Any] = content.get("results", {})
        self.tables: dict[str, list[str]] = content.get("tables", {})
        self.sections: dict[str, Any] = content.get("sections", {})

    def add(self, section: str, result: Any, lines: list[str], run: Run, took_s: float) -> None:
        """Keeps it in the file at once, so that nothing is lost where a later section fails."""
        # Through JSON, so that what is read now is what will be read from the file.
        self.results[section] = orjson.loads(orjson.dumps(asdict(result)))
        self.tables[section] = lines
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.sections[section] = {"measured": now, "took_s": round(took_s, 1), **asdict(run)}
        content = {"sections": self.sections, "results": self.results, "tables": self.tables}
        self.path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
