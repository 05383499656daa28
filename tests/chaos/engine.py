"""A handle of an engine's process: spawn, start, signal, wait for and kill it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.chaos.kill_points import VARIABLE

ROOT = Path(__file__).parents[2]


class EngineProcess:
    """A process that runs one engine. `spawn` loads the code, `start` starts the engine."""

    def __init__(self, process: asyncio.subprocess.Process, kill_at: str | None) -> None:
        self.kill_at = kill_at
        self._process = process

    @classmethod
    async def spawn(
        cls,
        config: Path,
        log: Path,
        kill_at: str | None = None,
        breakage: str | None = None,
        *,
        charges: bool = False,
    ) -> Self:
        """Spawn a process that waits for `start`.

        kill_at: a kill point and a count, as in `before_settled:3`.
        charges: whether it records each charge (`charges.py`).
        """
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        if kill_at:
            environment[VARIABLE] = kill_at
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.engine_process", "--config", str(config)),
                *(("--break", breakage) if breakage else ()),
                *(("--charges",) if charges else ()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=environment,
                # Ctrl-C must reach only the harness, which then ends its children.
                start_new_session=True,
            )
        return cls(process, kill_at)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while the process lives; the negative signal number if a signal ended it."""
        return self._process.returncode

    async def start(self) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(b"go\n")
            await self._process.stdin.drain()

    async def read_line(self, limit_s: float) -> str | None:
        """Return the next line of its output; None if it ended or printed nothing in time."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                return (await self._process.stdout.readline()).decode() or None
        except TimeoutError:
            return None

    def signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self, limit_s: float) -> int | None:
        """Return its exit code; None if it still lives after `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._process.wait()
        except TimeoutError:
            return None

    async def kill(self) -> int:
        """Send SIGKILL, and return the exit code once the process is gone."""
        self.signal(signal.SIGKILL)
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code
