"""The section `startup`: how long `rosey-llm --help` takes. `rows` has a service's start."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.children import installed
from tests.bench.figures import Spread, spread
from tests.bench.plan import Plan
from tests.bench.store.commanded import time_command

LEAST_ROUNDS = 9


@dataclass(frozen=True)
class Startup:
    """The results. python_s: of `python -I -c pass`."""

    help_s: Spread
    python_s: Spread


async def measure(folder: Path, plan: Plan) -> Startup:
    help_s, python_s = [], []
    for _ in range(max(plan.rounds, LEAST_ROUNDS)):
        python_s.append(await time_command([sys.executable, "-I", "-c", "pass"]))
        help_s.append(await time_command([installed("rosey-llm"), "--help"]))
    return Startup(spread(help_s), spread(python_s))


def table(result: Startup) -> list[str]:
    return [
        "Commands, medians and quartiles (for a service's start see `rows`):",
        "",
        f"rosey-llm --help   {result.help_s:.3f} s",
        f"python -I -c pass  {result.python_s:.3f} s",
    ]
