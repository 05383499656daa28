"""How long a start takes, from the process to the line that says it is ready; and `--help`."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.bench import machine
from tests.bench.children import START_LIMIT_S, Child, ChildFailed, installed
from tests.bench.engines import PASSWORD_VARIABLE, Variant, own_subjects, write_config
from tests.bench.figures import Spread, spread
from tests.bench.plan import Plan
from tests.bench.store import verdict
from tests.bench.store.commanded import ended
from tests.bench.store.ground import Ground, ground
from tests.bench.store.grown import Size
from tests.bench.store.kept import kept

SIZE = Size(channels=100_000, exchanges=5)
FULL_SIZE = Size(channels=1_000_000, exchanges=5)
LEAST_ROUNDS = 9
GOAL_S, HELP_GOAL_S = 0.5, 0.12
MIB = 2**20


@dataclass(frozen=True)
class Startup:
    """Seconds, in turn; `python` is `python -I -c pass`. ready_rss_bytes: memory when ready."""

    channels: int
    rows: int
    ready_s: Spread
    help_s: Spread
    python_s: Spread
    ready_rss_bytes: int


async def measure(folder: Path, plan: Plan) -> Startup:
    size = FULL_SIZE if plan.full else SIZE
    database = await kept(size)
    ready_s: list[float] = []
    rss_bytes: list[float] = []
    help_s, python_s = [], []
    async with ground(folder) as here:
        start = Start(here, "starting", database)
        for _ in range(max(plan.rounds, LEAST_ROUNDS)):
            python_s.append(await ended([sys.executable, "-I", "-c", "pass"]))
            help_s.append(await ended([installed("rosey-llm"), "--help"]))
            await start.measure(ready_s, rss_bytes)
    return Startup(
        channels=size.channels,
        rows=size.rows,
        ready_s=spread(ready_s),
        help_s=spread(help_s),
        python_s=spread(python_s),
        ready_rss_bytes=round(spread(rss_bytes).median),
    )


class Start:
    """An engine on `database` that is started, and ended as soon as it is ready."""

    def __init__(self, here: Ground, name: str, database: Path) -> None:
        variant = Variant(name, storage={"path": str(database)})
        config = write_config(here.around, variant, own_subjects(name))
        self._name = name
        self._command = [installed("rosey-llm"), "run", "--config", str(config)]
        self._environment = {**os.environ, PASSWORD_VARIABLE: here.around.nats_password}

    async def measure(self, ready_s: list[float], rss_bytes: list[float]) -> None:
        """Add a start's seconds, and its memory then. Raises ChildFailed."""
        began = perf_counter()
        # Not by way of `running`, whose launcher would be in the figure.
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, env=self._environment, start_new_session=True
        )
        child = Child(self._name, process)
        try:
            line = await child.line(START_LIMIT_S)
            ready_s.append(perf_counter() - began)
            rss_bytes.append(machine.rss_bytes(child.pid))
            if "is ready" not in line:
                raise ChildFailed(f"{self._name} said {line!r}")
        finally:
            await child.end()


def table(result: Startup) -> list[str]:
    ready, help_ = result.ready_s, result.help_s
    return [
        f"Starting, with {result.channels:,} channels and {result.rows:,} rows, medians and "
        "quartiles:",
        "",
        f"rosey-llm run, until it is ready   {ready:.3f} s   "
        f"({verdict.at_most(ready.median, GOAL_S, ' s')})",
        f"rosey-llm --help                   {help_:.3f} s   "
        f"({verdict.at_most(help_.median, HELP_GOAL_S, ' s')})",
        f"python -I -c pass                  {result.python_s:.3f} s",
        f"Memory when ready: {result.ready_rss_bytes / MIB:.1f} MiB",
    ]
