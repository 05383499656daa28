"""The section `startup`: how long `rosey-llm --help` takes. `rows` has a service's start."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from tests.bench.children import Child, ChildFailed, installed
from tests.bench.figures import Plan, Result, spread

LEAST_ROUNDS = 9
COMMAND_LIMIT_S = 60.0


async def startup(folder: Path, plan: Plan) -> Result:
    """Measure commands; python_s: of `python -I -c pass`."""
    help_s, python_s = [], []
    for _ in range(max(plan.rounds, LEAST_ROUNDS)):
        python_s.append(await time_command([sys.executable, "-I", "-c", "pass"]))
        help_s.append(await time_command([installed("rosey-llm"), "--help"]))
    return {"help_s": spread(help_s), "python_s": spread(python_s)}


async def time_command(command: Sequence[str]) -> float:
    """Return how many seconds a command took. Raise ChildFailed if it failed or took too long."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    try:
        async with asyncio.timeout(COMMAND_LIMIT_S):
            await process.communicate()
        taken_s = perf_counter() - began
    except TimeoutError:
        raise ChildFailed(f"{command} did not end within {COMMAND_LIMIT_S:g} s") from None
    finally:
        await Child(command[0], process).end()
    if process.returncode:
        raise ChildFailed(f"{command} ended with {process.returncode}")
    return taken_s


async def time_start(command: Sequence[str]) -> float:
    """Start an engine, and end it when it is ready; return the seconds in between.

    Raise ChildFailed.
    """
    began = perf_counter()
    # Not through `running`, whose launcher would be in the figure.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    child = Child("an engine", process)
    try:
        line = await child.read_line(COMMAND_LIMIT_S)
        taken_s = perf_counter() - began
        if "is ready" not in line:
            raise ChildFailed(f"{child.name} wrote {line!r} instead of its ready line")
    finally:
        await child.end()
    return taken_s
