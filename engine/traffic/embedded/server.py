"""The embedded NATS server: a nats-server as a child process.

It listens on 127.0.0.1 and ends with the engine. It lets in the engine, with a random password,
and bots that have a login (`logins.py`); one is in its file `url`. A bot may publish on the
engine's input subjects and subscribe to its output subjects; it cannot publish in its name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.traffic.embedded import configuration, store_lock, url_file
from engine.traffic.embedded.errors import (
    EmbeddedNatsError,
    NatsServerFailed,
    NatsServerMissing,
    PortTaken,
)
from engine.traffic.embedded.logins import BOT, ENGINE, BotLogin, BotRights, Logins
from engine.traffic.embedded.port import (
    HOST,
    free_ports,
    in_the_way,
    is_free,
    occupant_of,
)
from engine.traffic.embedded.process import LaunchPlan, NatsProcess
from engine.traffic.embedded.program import find_program
from engine.traffic.embedded.refusal_reports import RefusalReports, Remedies
from engine.traffic.embedded.store_lock import StoreInUse

__all__ = [
    "BotLogin",
    "BotRights",
    "EmbeddedNats",
    "EmbeddedNatsError",
    "NatsServerFailed",
    "NatsServerMissing",
    "PortTaken",
    "StoreInUse",
]

log = logging.getLogger("rosey_llm.nats")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_STEADY_AFTER_S = 60.0


class EmbeddedNats:
    """A nats-server that runs from `start` to `stop`.

    store_dir: a directory for this server alone; its log is `nats-server.log` there, and its
        address with a login for bots is in `url`.
    port: if it is taken, the next free one above it is used; 0 means any. After `start`, the
        port in use. Port and passwords survive restarts, so clients can reconnect.
    rights: of all clients but the engine. logins: those of bots, besides the one in `url`.
    is_open: whether clients without a login are let in, too.
    jetstream_max_bytes: the size of what JetStream keeps on disk; 0 leaves it off.
    program: the path of a nats-server; "" looks for one.
    beside_nats: take the next port also if a NATS server has the wanted one; else raise PortTaken.
    death_signal: whether the kernel can end the server together with the engine.
    """

    def __init__(
        self,
        store_dir: Path,
        port: int = 4222,
        *,
        rights: BotRights,
        logins: Sequence[BotLogin] = (),
        is_open: bool = False,
        jetstream_max_bytes: int = 0,
        program: str = "",
        beside_nats: bool = False,
        death_signal: bool = sys.platform == "linux",
    ) -> None:
        self.store_dir = store_dir.absolute()
        self.port = port
        self.engine_user = ENGINE
        self._rights = rights
        self._logins = Logins(rights, logins, is_open=is_open)
        self._jetstream_max_bytes = jetstream_max_bytes
        self._program = program
        self._beside_nats = beside_nats
        self._death_signal = death_signal
        self._start_stop_lock = asyncio.Lock()
        self._store: int | None = None
        self._process: NatsProcess | None = None
        self._refusals: RefusalReports | None = None

    @property
    def url(self) -> str:
        """The address, without a login."""
        return f"nats://{HOST}:{self.port}"

    @property
    def bot_url(self) -> str:
        """The address with a bot's login, as in the file `url`; never to be shown."""
        return f"nats://{BOT}:{self._logins.bot_password}@{HOST}:{self.port}"

    @property
    def engine_password(self) -> str:
        return self._logins.engine_password

    @property
    def pid(self) -> int | None:
        """The server's process id, or None if it does not run."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Return once clients can connect. Raise EmbeddedNatsError."""
        async with self._start_stop_lock:
            if self.pid is not None:
                return
            for name in self._logins.without_password:
                log.warning(
                    "The bot %(user)s cannot log in to the embedded NATS server: its password in"
                    " [[nats.users]] is empty. If it is a variable, set that for the service.",
                    {"event": "nats.login_without_password", "user": name},
                )
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
        self._refusals = RefusalReports(self._log_file, self._remedies())
        await self._start_on_a_free_port(binary, self._store)
        try:
            url_file.write(self.store_dir, self.bot_url)
        except BaseException:
            process, self._process = self._process, None
            if process is not None:
                await process.end()
            raise

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

    def _remedies(self) -> Remedies:
        rights = self._rights
        says = [each for each in rights.publish if not each.startswith("$")]
        return Remedies(
            publish=[*says, *rights.among_bots],
            subscribe=[*rights.subscribe, *rights.among_bots, "_INBOX.>"],
            closed=[*rights.never_publish, *rights.never_hear],
            has_jetstream=bool(self._jetstream_max_bytes),
            url_file=url_file.path_in(self.store_dir),
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
        if wanted and not self._beside_nats and not is_free(wanted):
            await _require_no_nats(wanted)
        for port in free_ports(wanted):
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
        if self._process is None:  # else it goes on with the login that bots know
            self._logins.keep_or_renew(url_file.kept_password(self.store_dir, port))
        # A killed server leaves its ports file behind.
        for stale in self.store_dir.glob("*.ports"):
            stale.unlink(missing_ok=True)
        plan = LaunchPlan(
            binary=binary,
            config=configuration.write(
                self.store_dir,
                port,
                self._log_file,
                self._jetstream_max_bytes,
                self._logins.configuration,
            ),
            directory=self.store_dir,
            log_file=self._log_file,
            environment={"PATH": os.environ.get("PATH", os.defpath), **self._logins.environment},
            # Keeps the directory locked while the server runs, even if the engine is killed.
            kept_open=store,
            death_signal=self._death_signal,
        )
        self._process = await NatsProcess.launch(plan)
        self.port = self._process.port

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


async def _require_no_nats(port: int) -> None:
    """Raise PortTaken if a NATS server answers there which is not the embedded one of an engine."""
    occupant = await occupant_of(port)
    if occupant.kind == "nats":
        raise PortTaken(in_the_way(port, occupant))
