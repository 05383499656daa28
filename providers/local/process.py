"""One life of the embedded model's child process, from the parent's side."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from pathlib import Path
from typing import Self

import orjson

from providers.local import server
from providers.local.server import ServerCommand

log = logging.getLogger("rosey_llm.local")

_STOP_LIMIT_S = 3.0
_TAIL_BYTES = 2000
_READ_BYTES = 4096
_STAMP = re.compile(r"^[\d.]+ ([EWI] )?")


class NotStarted(Exception):
    """The child ended, or said nothing, before it was ready. The message says why."""


class ModelProcess:
    """A model server that listens on 127.0.0.1, on `port`, until it ends."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._said = b""
        self._listening = asyncio.create_task(self._listen())
        self.port = 0

    @classmethod
    async def launch(cls, order: ServerCommand, limit_s: float) -> Self:
        """Returns once the model is loaded; raises NotStarted and leaves no process."""
        process = cls(await _spawn())
        try:
            async with asyncio.timeout(limit_s):
                process.port = await process._hand_over(order)
        except TimeoutError:
            await process.end()
            raise NotStarted(f"it was not ready after {limit_s:g} s") from None
        except BaseException:
            await process.end()
            raise
        return process

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._child.pid if self._child.returncode is None else None

    async def ended(self) -> int:
        """Waits for its end; gives the exit code (negative: the signal)."""
        await asyncio.wait([self._listening])
        return await self._child.wait()

    async def end(self) -> None:
        """Ends it, and returns when it is gone."""
        try:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            async with asyncio.timeout(_STOP_LIMIT_S):
                await self.ended()
        except TimeoutError:
            log.warning("The embedded model did not stop within %g s; it is killed.", _STOP_LIMIT_S)
        finally:
            if self._child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._child.kill()
            await self.ended()

    @property
    def last_words(self) -> str:
        """The last line that it complained with."""
        lines = [_STAMP.sub("", line) for line in self._said.decode(errors="replace").split("\n")]
        return next((line for line in reversed(lines) if line.strip()), "")

    async def _hand_over(self, order: ServerCommand) -> int:
        assert self._child.stdin is not None  # noqa: S101 - asked for
        assert self._child.stdout is not None  # noqa: S101 - asked for
        with contextlib.suppress(ConnectionError):
            self._child.stdin.write(orjson.dumps(order) + b"\n")
            await self._child.stdin.drain()
        report = await self._child.stdout.readline()
        if not report:
            code = await self.ended()
            raise NotStarted(f"it ended with code {code}: {self.last_words}")
        return int(orjson.loads(report)["port"])

    async def _listen(self) -> None:
        # A child whose complaints nobody reads would stand still once the pipe is full.
        assert self._child.stderr is not None  # noqa: S101 - asked for
        while said := await self._child.stderr.read(_READ_BYTES):
            self._said = (self._said + said)[-_TAIL_BYTES:]


async def _spawn() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        # By its path and without our directory, so that it finds nothing of ours by accident.
        *(sys.executable, "-P", str(Path(server.__file__))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C in the terminal is for the engine, which drains before it stops the model.
        start_new_session=True,
    )
