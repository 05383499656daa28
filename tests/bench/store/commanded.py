"""A command that runs until its end."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from time import perf_counter

from tests.bench.children import Child, ChildFailed

LIMIT_S = 60.0


async def ended(command: Sequence[str]) -> float:
    """How many seconds it took. Raises ChildFailed where it took too long, or failed."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    said = " ".join(command)
    try:
        async with asyncio.timeout(LIMIT_S):
            await process.communicate()
        taken_s = perf_counter() - began
    except TimeoutError:
        raise ChildFailed(f"{said} did not end within {LIMIT_S:g} s") from None
    finally:
        await Child(said, process).end()
    if process.returncode:
        raise ChildFailed(f"{said} ended with {process.returncode}")
    return taken_s
