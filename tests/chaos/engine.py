"""An engine's process, from the outside: spawned warm, started, stopped, killed, reaped."""

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


class Engine:
    """One life. `go` starts what `spawn` has made ready."""

    def __init__(self, process: asyncio.subprocess.Process, kill_at: str | None) -> None:
        self.kill_at = kill_at
        self._process = process

    @classmethod
    async def spawn(
        cls, config: Path, log: Path, kill_at: str | None = None, breakage: str | None = None
    ) -> Self:
        """`kill_at` is a kill point and a count: `before_settled:3`."""
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        if kill_at:
            environment[VARIABLE] = kill_at
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.engine_process", "--config", str(config)),
                *(("--break", breakage) if breakage else ()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=environment,
                # Ctrl-C is for the harness, which then ends its children.
                start_new_session=True,
            )
        return cls(process, kill_at)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return self._process.returncode

    async def go(self) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(b"go\n")
            await self._process.stdin.drain()

    async def line(self, limit_s: float) -> str | None:
        """What it says next; None where it ends or says nothing in time."""
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

    async def ended(self, limit_s: float) -> int | None:
        """Its exit code; None where it still lives after `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._process.wait()
        except TimeoutError:
            return None

    async def kill(self) -> int:
        """SIGKILL, and wait until the kernel has taken everything from it."""
        self.signal(signal.SIGKILL)
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code
