"""Time the start of an engine, from the new process to its ready line."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from pathlib import Path
from time import perf_counter

from tests.bench.children import START_LIMIT_S, Child, ChildFailed, installed
from tests.bench.engines import PASSWORD_VARIABLE, Variant, own_subjects, write_config
from tests.bench.store.ground import Ground


class Start:
    """An engine on `database` that is started, and ended when it is ready."""

    def __init__(self, here: Ground, name: str, database: Path) -> None:
        variant = Variant(name, storage={"path": str(database)})
        config = write_config(here.environment, variant, own_subjects(name))
        self._name = name
        self._command = [installed("rosey-llm"), "run", "--config", str(config)]
        self._environment = {**os.environ, PASSWORD_VARIABLE: here.environment.nats_password}

    async def measure(self) -> float:
        """Return the seconds until it was ready. Raise ChildFailed."""
        began = perf_counter()
        # Not through `running`, whose launcher would be in the figure.
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, env=self._environment, start_new_session=True
        )
        child = Child(self._name, process)
        try:
            line = await child.read_line(START_LIMIT_S)
            taken_s = perf_counter() - began
            if "is ready" not in line:
                raise ChildFailed(f"{self._name} wrote {line!r} instead of its ready line")
        finally:
            await child.end()
        return taken_s
