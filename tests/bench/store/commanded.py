"""Run a command to its end and time it."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from time import perf_counter

from tests.bench.children import Child, ChildFailed

LIMIT_S = 60.0


async def time_command(command: Sequence[str]) -> float:
    """Return how many seconds a command took. Raise ChildFailed if it failed or took too long."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    line = " ".join(command)
    try:
        async with asyncio.timeout(LIMIT_S):
            await process.communicate()
        taken_s = perf_counter() - began
    except TimeoutError:
        raise ChildFailed(f"{line} did not end within {LIMIT_S:g} s") from None
    finally:
        await Child(line, process).end()
    if process.returncode:
        raise ChildFailed(f"{line} ended with {process.returncode}")
    return taken_s
