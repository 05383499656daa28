"""A nats-server process: launching it, waiting until it is ready, ending it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from engine.traffic.embedded.errors import NatsServerFailed

log = logging.getLogger("rosey_llm.nats")

_START_LIMIT_S = 10.0
_STOP_LIMIT_S = 5.0
_POLL_S = 0.01
_TAIL_BYTES = 1000

# The server must end with an engine that is killed. A process of its own sees to that, because a
# preexec_fn is not safe in a process with threads. On Linux, it asks the kernel to; elsewhere it
# leaves a guard behind, which waits for the end of the engine's side of a pipe. The engine may end
# before that takes effect, so the process then checks its parent.
_LAUNCH = """
import ctypes, os, sys
engine, by_kernel, kept_open = int(sys.argv[1]), sys.argv[2] == "kernel", int(sys.argv[3])
server = os.getpid()
os.umask(0o077)
if by_kernel:
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
elif os.fork() == 0:
    for file in (1, 2, kept_open):
        os.close(file)
    os.read(0, 1)
    if os.getppid() == server:
        os.kill(server, 15)
    os._exit(0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
if os.getppid() == engine:
    os.execv(sys.argv[4], sys.argv[4:])
"""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What a server needs to run.

    directory: where the server, by its configuration, writes its ports file.
    environment: all that it gets; the engine's own has keys of providers.
    kept_open: a file descriptor that the server inherits.
    death_signal: whether the kernel can end a process together with its parent.
    """

    binary: Path
    config: Path
    directory: Path
    log_file: Path
    environment: Mapping[str, str]
    kept_open: int
    death_signal: bool = sys.platform == "linux"


class NatsProcess:
    """A running nats-server that accepts connections on `port`."""

    def __init__(self, child: asyncio.subprocess.Process, port: int, lifeline: int) -> None:
        self._child = child
        self._lifeline = lifeline
        self.port = port

    @classmethod
    async def launch(cls, plan: LaunchPlan) -> Self:
        """Return once clients can connect. Raise NatsServerFailed, leaving no process behind."""
        # Created here because the server would let other users read it.
        os.close(os.open(plan.log_file, os.O_WRONLY | os.O_CREAT, 0o600))
        log_start = plan.log_file.stat().st_size
        # It has this side of the pipe alone, so the pipe ends with the engine, whatever ends it.
        guarded, lifeline = os.pipe()
        try:
            return await cls._started(plan, guarded, lifeline, log_start)
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(guarded)

    @classmethod
    async def _started(cls, plan: LaunchPlan, guarded: int, lifeline: int, log_start: int) -> Self:
        try:
            child = await _spawn(plan, guarded)
        except OSError as exc:
            raise NatsServerFailed(
                f"Cannot start {plan.binary}: {exc.strerror}."
                " Try again, or set [nats] url to another server."
            ) from exc
        try:
            port = await _ready_port(child, plan.directory)
        except BaseException:
            await _end(child)
            raise
        if port is not None:
            return cls(child, port, lifeline)
        state = f"ended with code {child.returncode}"
        if child.returncode is None:
            state = f"was not ready after {_START_LIMIT_S:.0f} s"
        if _is_another(child.pid, plan.directory):
            state = (
                f"is another process than {plan.binary}, so it would not end with the engine."
                " A script must `exec` nats-server"
            )
        await _end(child)
        tail = _tail(plan.log_file, log_start)
        raise NatsServerFailed(f"The embedded NATS server {state}. Its log: {tail}")

    @property
    def pid(self) -> int | None:
        """The process id, or None if the server has ended."""
        return self._child.pid if self._child.returncode is None else None

    async def ended(self) -> int:
        """Wait for the end and return the exit code (negative: the signal)."""
        code = await self._child.wait()
        self._release_guard()
        return code

    async def end(self) -> None:
        try:
            if self.pid is not None:
                await _end(self._child)
        finally:
            self._release_guard()

    def _release_guard(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


async def _spawn(plan: LaunchPlan, guarded: int) -> asyncio.subprocess.Process:
    with plan.log_file.open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())),
            *("kernel" if plan.death_signal else "guard", str(plan.kept_open)),
            *(str(plan.binary), "--config", str(plan.config)),
            stdin=guarded,
            stdout=errors,
            stderr=errors,
            env=plan.environment,
            pass_fds=[plan.kept_open],
            # Ctrl-C must reach only the engine, which drains before it stops NATS.
            start_new_session=True,
        )


async def _ready_port(child: asyncio.subprocess.Process, directory: Path) -> int | None:
    try:
        async with asyncio.timeout(_START_LIMIT_S):
            while child.returncode is None:
                port = _read_port(child.pid, directory)
                if port is not None or _is_another(child.pid, directory):
                    return port
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        pass
    return None


def _read_port(pid: int, directory: Path) -> int | None:
    for file in directory.glob(f"*_{pid}.ports"):  # after the name by which it was started
        with contextlib.suppress(FileNotFoundError, orjson.JSONDecodeError):
            return int(orjson.loads(file.read_bytes())["nats"][0].rpartition(":")[2])
    return None


def _is_another(pid: int, directory: Path) -> bool:
    """Return whether another process is the server: a script has not replaced itself by it."""
    return any(not each.stem.endswith(f"_{pid}") for each in directory.glob("*.ports"))


def _tail(log_file: Path, start: int) -> str:
    with log_file.open("rb") as file:
        file.seek(max(start, log_file.stat().st_size - _TAIL_BYTES))
        return " / ".join(file.read().decode(errors="replace").splitlines()) or "no log"


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the process, and all that are in its group: a script may have started the server."""
    try:
        _signal_group(child, signal.SIGTERM)
        async with asyncio.timeout(_STOP_LIMIT_S):
            await child.wait()
    except TimeoutError:
        log.warning(
            "NATS did not stop within %(limit_s).0f s; killing it.",
            {"event": "nats.server_killed", "limit_s": _STOP_LIMIT_S},
        )
    finally:
        if child.returncode is None:
            _signal_group(child, signal.SIGKILL)
            await child.wait()


def _signal_group(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
        os.killpg(child.pid, number)
