"""The child process of the embedded model, as its parent sees it: start, wait, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
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
# The rest of our environment may hold keys of providers.
_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH")
_PREFIXES = ("LC_", "GGML_", "LLAMA_", "OMP_", "CUDA_", "VK_", "HIP_", "ROCR_", "PYTHON")
_STAMP = re.compile(r"^[\d.]+ ([EWI] )?")


class NotStarted(Exception):
    """The child process ended, or was not ready in time. The message says why."""


class ModelProcess:
    """A running model server that listens on `port` of 127.0.0.1."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._stderr_tail = b""
        self._stderr_reader = asyncio.create_task(self._read_stderr())
        self.port = 0

    @classmethod
    async def launch(cls, command: ServerCommand, limit_s: float) -> Self:
        """Start a server and wait until its model is loaded. NotStarted leaves no process."""
        process = cls(await _spawn())
        try:
            async with asyncio.timeout(limit_s):
                process.port = await process._send_command(command)
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
        """Wait until the process ends; return its exit code (negative: the signal)."""
        await asyncio.wait([self._stderr_reader])
        return await self._child.wait()

    async def end(self) -> None:
        """Stop the process and wait until it has ended."""
        try:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            async with asyncio.timeout(_STOP_LIMIT_S):
                await self.ended()
        except TimeoutError:
            log.warning(
                "The embedded model did not stop within %(limit_s)g s; killing it.",
                {"event": "local.killed", "limit_s": _STOP_LIMIT_S},
            )
        finally:
            if self._child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._child.kill()
            await self.ended()

    @property
    def last_error(self) -> str:
        """The last line of its standard error, without time stamp; "" if there is none."""
        text = self._stderr_tail.decode(errors="replace")
        lines = [_STAMP.sub("", line) for line in text.split("\n")]
        return next((line for line in reversed(lines) if line.strip()), "")

    async def _send_command(self, command: ServerCommand) -> int:
        """Send the command and return the port, once the model is loaded."""
        assert self._child.stdin is not None  # noqa: S101 -- `_spawn` makes a pipe
        assert self._child.stdout is not None  # noqa: S101 -- `_spawn` makes a pipe
        with contextlib.suppress(ConnectionError):
            self._child.stdin.write(orjson.dumps(command) + b"\n")
            await self._child.stdin.drain()
        report = await self._child.stdout.readline()
        if not report:
            code = await self.ended()
            raise NotStarted(f"it ended with code {code}: {self.last_error}")
        return int(orjson.loads(report)["port"])

    async def _read_stderr(self) -> None:
        # If it were not read, the child would block as soon as the pipe is full.
        assert self._child.stderr is not None  # noqa: S101 -- `_spawn` makes a pipe
        while block := await self._child.stderr.read(_READ_BYTES):
            self._stderr_tail = (self._stderr_tail + block)[-_TAIL_BYTES:]


async def _spawn() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        # By path and without our directory on its import path, so it imports nothing of ours.
        *(sys.executable, "-P", str(Path(server.__file__))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            name: value
            for name, value in os.environ.items()
            if name in _VARIABLES or name.startswith(_PREFIXES)
        },
        # Ctrl-C in the terminal must reach only the engine, which drains, then stops the model.
        start_new_session=True,
    )
