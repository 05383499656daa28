"""A child process of the demo: a command of `rosey-llm` that runs until it is ended or killed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from pathlib import Path
from typing import Self

from engine.errors import CannotStart

START_LIMIT_S = 60.0
END_LIMIT_S = 10.0


class RunningCommand:
    """A command that has said that it is ready.

    said: what its ready line has at the group of the pattern, such as an address.
    """

    def __init__(self, process: asyncio.subprocess.Process, said: str) -> None:
        self._process = process
        self.said = said

    @classmethod
    async def start(cls, folder: Path, ready: str, *arguments: str) -> Self:
        """Start `rosey-llm <arguments>` in `folder`; return once a line matches `ready`.

        Raise CannotStart with the command's own error if it ends before.
        """
        errors = folder / f"{arguments[0]}.log"
        with errors.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "engine.cli", *arguments),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends it
            )
        try:
            async with asyncio.timeout(START_LIMIT_S):
                said = await _line(process, ready)
        except TimeoutError as exc:
            await _end(process)
            raise CannotStart(f"`rosey-llm {arguments[0]}` was not ready in time.") from exc
        except BaseException:
            await _end(process)
            raise
        if said is None:
            await process.wait()
            lines = errors.read_text(errors="replace").strip().splitlines()
            problem = lines[-1] if lines else f"`rosey-llm {arguments[0]}` ended."
            raise CannotStart(problem.removeprefix("rosey-llm cannot start: "))
        return cls(process, said)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """End it with SIGTERM; kill it if that takes too long."""
        await _end(self._process)


async def _line(process: asyncio.subprocess.Process, ready: str) -> str | None:
    """Return what the first matching line has at the pattern's group; None if there is none."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    async for line in process.stdout:
        if found := re.search(ready, line.decode(errors="replace")):
            return found[1]
    return None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(END_LIMIT_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
