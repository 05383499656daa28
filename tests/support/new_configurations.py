"""What a command wrote: a configuration, and which files there are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "rosey-llm.toml").read_text()


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def written(folder: Path, name: str = "rosey-llm.toml") -> dict[str, Any]:
    return tomllib.loads((folder / name).read_text())
