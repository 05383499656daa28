"""Child processes of the benchmark, which answer questions in lines of JSON over their pipes.

The first part is the benchmark's side, the second the child's.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

START_LIMIT_S = 30.0
END_LIMIT_S = 15.0
LIMIT_S = 320.0  # of an answer; longer than the loops' own limits
LINE_LIMIT_BYTES = 2**20

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class ChildFailed(Exception):
    """A child ended, or wrote nothing in time; its stderr says why."""


class Child:
    """A process that writes a line when it is ready, and may answer lines after that.

    ready: the first line it wrote.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self.ready = ""
        self._process = process

    async def ask(self, do: str, limit_s: float = LIMIT_S, **more: Any) -> dict[str, Any]:
        """Write one line and return the line that answers it. Raise ChildFailed."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps({"do": do, **more}) + b"\n")
        answer: dict[str, Any] = orjson.loads(await self.read_line(limit_s))
        if "error" in answer:
            raise ChildFailed(f"{self.name}: {answer['error']}")
        return answer

    async def read_line(self, limit_s: float) -> str:
        """Return the next line it writes. Raise ChildFailed."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildFailed(f"{self.name} wrote nothing for {limit_s:g} s") from None
        if not line:
            raise ChildFailed(f"{self.name} ended")
        return line.decode().rstrip("\n")

    async def end(self) -> None:
        """End it with SIGTERM, or with SIGKILL if it does not end in time."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_LIMIT_S):
                await self._process.communicate()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            # Not `send_signal`, which may reap a child that has just ended behind asyncio's back.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@contextmanager
def alone(child: Child, everyone: Iterable[Child]) -> Iterator[None]:
    """Stop all others during the block: a resting contestant still writes snapshots and its search
    index, prunes, and looks after its providers."""
    others = [each for each in everyone if each is not child]
    for each in others:
        each.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in others:
            each.signal(signal.SIGCONT)


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Start a child, wait until it is ready, and end it after the block. Raise ChildFailed.

    environment: what it is given beside this process's own.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=pipe,
        stdout=pipe,
        limit=LINE_LIMIT_BYTES,
        env={**os.environ, **(environment or {})},
        # Ctrl-C goes to the benchmark, which then ends its children in order.
        start_new_session=True,
        preexec_fn=_end_with_the_benchmark if sys.platform == "linux" else None,
    )
    child = Child(name, process)
    try:
        child.ready = await child.read_line(START_LIMIT_S)
        yield child
    finally:
        await child.end()


def _end_with_the_benchmark() -> None:
    """Have the kernel end this process if the benchmark is killed; it may be stopped just then."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of the benchmark."""
    return [sys.executable, "-m", f"tests.bench.{name}", *arguments]


def installed(command: str) -> str:
    """Return the path of a command in the environment that runs the benchmark."""
    return str(Path(sys.executable).parent / command)


# What follows runs in the child.


def run(main: Coroutine[Any, Any, None]) -> None:
    import uvloop  # the alternatives' environment has none

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def freeze_garbage() -> None:
    """Keep the garbage collector from what is already there, and let it run rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


async def answer_questions(answers: object, **ready: Any) -> None:
    """Write `ready`, then answer each question with the method that its `do` names.

    Return when the benchmark closes the pipe.
    """
    _write_line(ready)
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        question = orjson.loads(line)
        try:
            _write_line(await getattr(answers, question.pop("do"))(**question))
        except Exception as exc:  # noqa: BLE001 - the benchmark raises it as ChildFailed
            while isinstance(exc, ExceptionGroup):
                exc = exc.exceptions[0]
            _write_line({"error": repr(exc)})


def _write_line(answer: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()
