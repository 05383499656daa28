"""The file that holds what was measured, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench.plan import Plan

DATA = Path("data")
FILE = DATA / "bench.json"
QUICK_FILE = DATA / "bench-quick.json"


class Record:
    """results: by section; tables: the lines of each; sections: when and how each was measured.

    A section that is measured again takes the place of what it was; the others stay.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self._content = content

    @classmethod
    def read(cls, path: Path) -> Record:
        empty: dict[str, Any] = {"machine": {}, "results": {}, "tables": {}, "sections": {}}
        return cls(path, empty | (orjson.loads(path.read_bytes()) if path.exists() else {}))

    @property
    def machine(self) -> dict[str, str]:
        machine: dict[str, str] = self._content["machine"]
        return machine

    @property
    def results(self) -> dict[str, Any]:
        results: dict[str, Any] = self._content["results"]
        return results

    @property
    def tables(self) -> dict[str, list[str]]:
        tables: dict[str, list[str]] = self._content["tables"]
        return tables

    @property
    def sections(self) -> dict[str, Any]:
        sections: dict[str, Any] = self._content["sections"]
        return sections

    def measured_on(self, machine: dict[str, str]) -> None:
        self._content["machine"] = machine

    def add(self, section: str, result: Any, lines: list[str], plan: Plan) -> None:
        """Keeps it in the file at once, so that nothing is lost where a later section fails."""
        # Through JSON, so that what is read now is what will be read from the file.
        self.results[section] = orjson.loads(orjson.dumps(asdict(result)))
        self.tables[section] = lines
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.sections[section] = {"measured": now, **asdict(plan)}
        self.path.write_bytes(orjson.dumps(self._content, option=orjson.OPT_INDENT_2) + b"\n")
