"""The embedded NATS server: a nats-server as a child process.

It listens on 127.0.0.1 and ends with the engine. It has two users: the engine, with a random
password, and the bot, for all clients without credentials. A bot may publish on the engine's input
subjects and subscribe to its output subjects; it cannot publish in the engine's name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from engine.traffic.embedded import store_lock
from engine.traffic.embedded.errors import (
    EmbeddedNatsError,
    NatsServerFailed,
    NatsServerMissing,
)
from engine.traffic.embedded.process import LaunchPlan, NatsProcess
from engine.traffic.embedded.program import find_program
from engine.traffic.embedded.refusal_reports import RefusalReports
from engine.traffic.embedded.store_lock import StoreInUse

__all__ = [
    "EmbeddedNats",
    "EmbeddedNatsError",
    "NatsServerFailed",
    "NatsServerMissing",
    "StoreInUse",
]

log = logging.getLogger("rosey_llm.nats")

_HOST = "127.0.0.1"
_PORTS_TRIED = 100
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_STEADY_AFTER_S = 60.0
_PASSWORD_VARIABLE = "ROSEY_LLM_NATS_PASSWORD"  # noqa: S105 - a variable's name

_CONFIG = """\
host: {host}
port: {port}
ports_file_dir: {directory}
log_file: {log_file}
logfile_size_limit: 10MB
logfile_max_num: 3
max_payload: 1MB
max_pending: 64MB
# The engine may stand still for longer: a suspended machine, a debugger. What waits for it is in
# the server's memory, up to max_pending; a bot that is dead is found by its pings.
write_deadline: "5m"
ping_interval: "60s"
ping_max: 5
no_auth_user: bot
authorization {{
  users: [
    {{ user: engine, password: ${password_variable} }}
    {{
      user: bot
      permissions: {{ publish: {publish}, subscribe: {{ allow: {subscribe}, deny: {deny} }} }}
    }}
  ]
}}
"""


class EmbeddedNats:
    """A nats-server that runs from `start` to `stop`.

    store_dir: a directory for this server alone; its log is `nats-server.log` there.
    port: if it is taken, the next free one above it is used; 0 means any. After `start`, the
        port in use. Port and password survive restarts, so clients can reconnect.
    program: the path of a nats-server; "" looks for one.
    death_signal: whether the kernel can end the server together with the engine.
    """

    def __init__(
        self,
        store_dir: Path,
        port: int = 4222,
        *,
        bot_publish: Sequence[str],
        bot_subscribe: Sequence[str],
        bot_never_hears: Sequence[str] = (),
        program: str = "",
        death_signal: bool = sys.platform == "linux",
    ) -> None:
        self.store_dir = store_dir.absolute()
        self.port = port
        self.engine_user = "engine"
        self.engine_password = secrets.token_urlsafe(24)
        self._bot_publish = list(bot_publish)
        self._bot_subscribe = [*bot_subscribe, "_INBOX.>"]
        self._bot_never_hears = list(bot_never_hears)
        self._program = program
        self._death_signal = death_signal
        self._start_stop_lock = asyncio.Lock()
        self._store: int | None = None
        self._process: NatsProcess | None = None
        self._refusals: RefusalReports | None = None

    @property
    def url(self) -> str:
        return f"nats://{_HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None if it does not run."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Return once clients can connect. Raise EmbeddedNatsError."""
        async with self._start_stop_lock:
            if self.pid is not None:
                return
            program = await asyncio.to_thread(find_program, self._program)
            if program.passed_over:
                log.warning(
                    "%(why)s. Using %(path)s.",
                    {
                        "event": "nats.program_passed_over",
                        "why": program.passed_over,
                        "path": program.path,
                    },
                )
            try:
                await self._start_with_files(program.path)
            except OSError as exc:
                self._unlock_store()
                raise NatsServerFailed(
                    f"Cannot write the files of the embedded NATS server in {self.store_dir}:"
                    f" {exc.strerror}. Free some space there if its disk is full, or set [nats]"
                    " store_dir to another folder."
                ) from exc
            except BaseException:
                self._unlock_store()
                raise

    async def _start_with_files(self, binary: Path) -> None:
        if self._store is None:
            self.store_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._store = await store_lock.take(self.store_dir)
        self._refusals = RefusalReports(self._log_file, self._allowed())
        await self._start_on_a_free_port(binary, self._store)

    async def stop(self) -> None:
        """End the server. May be called at any time, and more than once."""
        async with self._start_stop_lock:
            process, self._process = self._process, None
            try:
                if process is not None:
                    await process.end()
            finally:
                self._unlock_store()

    async def died(self) -> int:
        """Wait until the server ends and return its exit code (negative: the signal)."""
        if self._process is None:
            raise EmbeddedNatsError("The embedded NATS server was not started.")
        return await self._process.ended()

    async def keep_running(self) -> None:
        """Restart the server whenever it ends. Return after `stop`."""
        clock = asyncio.get_running_loop().time
        pause_s = _FIRST_PAUSE_S
        while self._process is not None:
            started_s = clock()
            code = await self.died()
            if self._store is None:
                return
            if clock() - started_s > _STEADY_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            log.warning(
                "NATS ended with code %(exit_code)d; restarting it.",
                {"event": "nats.server_ended", "exit_code": code},
            )
            pause_s = await self._restart(pause_s)

    async def report_refusals(self) -> None:
        """Log once what the server refuses a client, and what to do. Call after `start`."""
        if self._refusals is not None:
            await self._refusals.run()

    @property
    def _log_file(self) -> Path:
        return self.store_dir / "nats-server.log"

    def _allowed(self) -> str:
        says = ", ".join(each for each in self._bot_publish if not each.startswith("$"))
        return (
            f"On the embedded server, clients may publish on {says}, and subscribe to"
            f" {', '.join(self._bot_subscribe)}. For more, set [nats] url to a server of your own"
            " (docs/security.md)."
        )

    async def _restart(self, pause_s: float) -> float:
        logged = False
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            try:
                async with self._start_stop_lock:
                    if self._store is not None:
                        program = await asyncio.to_thread(find_program, self._program)
                        await self._launch(program.path, self.port, self._store)
            except (EmbeddedNatsError, OSError) as exc:
                if not logged:
                    log.warning(
                        "%(error)s Trying again.", {"event": "nats.server_failed", "error": exc}
                    )
                logged = True
            else:
                log.warning(
                    "NATS listens on %(port)d again.",
                    {"event": "nats.server_recovered", "port": self.port},
                )
                return pause_s

    async def _start_on_a_free_port(self, binary: Path, store: int) -> None:
        wanted = self.port
        for port in _free_ports(wanted):
            try:
                await self._launch(binary, port, store)
            except NatsServerFailed as exc:
                if "address already in use" not in str(exc):
                    raise
            else:
                if wanted not in (0, self.port):
                    log.info(
                        "Port %(wanted)d is taken; NATS listens on %(port)d.",
                        {"event": "nats.port_changed", "wanted": wanted, "port": self.port},
                    )
                return
        raise NatsServerFailed(f"No port from {wanted} upwards is free. Set [nats] port.")

    async def _launch(self, binary: Path, port: int, store: int) -> None:
        self.store_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A killed server leaves its ports file behind.
        for stale in self.store_dir.glob(f"{binary.name}_*.ports"):
            stale.unlink(missing_ok=True)
        plan = LaunchPlan(
            binary=binary,
            config=self._write_config(port, self._log_file),
            directory=self.store_dir,
            log_file=self._log_file,
            # Quoted because the server would read a password such as 12k as a number.
            environment={
                "PATH": os.environ.get("PATH", os.defpath),
                _PASSWORD_VARIABLE: _json(self.engine_password),
            },
            # Keeps the directory locked while the server runs, even if the engine is killed.
            kept_open=store,
            death_signal=self._death_signal,
        )
        self._process = await NatsProcess.launch(plan)
        self.port = self._process.port

    def _write_config(self, port: int, log_file: Path) -> Path:
        path = self.store_dir / "nats-server.conf"
        text = _CONFIG.format(
            host=_HOST,
            port=port or -1,
            directory=_json(str(self.store_dir)),
            log_file=_json(str(log_file)),
            password_variable=_PASSWORD_VARIABLE,
            publish=_json(self._bot_publish),
            subscribe=_json(self._bot_subscribe),
            deny=_json(self._bot_never_hears),
        )
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        return path

    def _unlock_store(self) -> None:
        if self._store is not None:
            os.close(self._store)
            self._store = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def _free_ports(wanted: int) -> Iterator[int]:
    last = min(wanted + _PORTS_TRIED, 65536)
    yield from filter(_is_free, range(wanted, last)) if wanted else (0,)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: closed connections then do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
