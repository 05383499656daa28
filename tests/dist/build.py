"""Builds the wheel and the source distribution."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from providers.version import VERSION

ROOT = Path(__file__).parents[2]
NAMES = (f"rosey_llm-{VERSION}-py3-none-any.whl", f"rosey_llm-{VERSION}.tar.gz")


def built(folder: Path) -> list[Path]:
    """Build both into the folder, and return them."""
    subprocess.run(
        [*(sys.executable, "-m", "hatchling", "build", "-d", str(folder))],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return [folder / name for name in NAMES]
