"""A nats-server with a test's own configuration, and a client that may break the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import pytest

from engine.app import App, build_app
from engine.traffic.embedded.errors import NatsServerFailed
from engine.traffic.embedded.process import LaunchPlan, NatsProcess
from engine.traffic.embedded.program import find_program
from tests.support.patience import WAIT_S
from tests.support.service_harness import House


def lasting_port() -> int:
    """Return a port that the system does not assign: it is still free when a server restarts.

    Each worker of pytest has ports of its own, so that no other takes it meanwhile. The next port
    is free, too.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return random.SystemRandom().randrange(15_000 + 2 * worker, 30_000, 2 * workers)


class Server:
    """A nats-server. `config` may be changed before a `start`, or before a `reload`."""

    def __init__(
        self, folder: Path, config: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder / "server"
        self.config = config
        self.port = lasting_port()
        self.scheme = "nats"
        self._environment = environment or {}
        self._process: NatsProcess | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    async def start(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        for _ in range(10):
            try:
                self._process = await self._launched()
                break
            except NatsServerFailed as exc:
                if self._process is not None or "address already in use" not in str(exc):
                    raise
                self.port = lasting_port()
        return self

    async def _launched(self) -> NatsProcess:
        kept_open = os.open(os.devnull, os.O_RDONLY)
        try:
            return await NatsProcess.launch(
                LaunchPlan(
                    find_program().path,
                    self._write_config(),
                    self.folder,
                    self.folder / "log",
                    self._environment,
                    kept_open,
                )
            )
        finally:
            os.close(kept_open)

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.end()

    async def ended(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(WAIT_S):
            await self._process.ended()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def reload(self) -> None:
        self._write_config()
        self.signal(signal.SIGHUP)

    def _write_config(self) -> Path:
        path = self.folder / "nats.conf"
        path.write_text(
            f'host: "127.0.0.1"\nport: {self.port}\nports_file_dir: "{self.folder}"\n'
            f'log_file: "{self.folder / "log"}"\n{self.config}\n'
        )
        return path

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


# A server that refuses a login closes the connection at once, and its reason may be lost with it.
REFUSED = "closed the connection|reset by peer|Broken pipe"


class RawClient:
    """A NATS client without a library, so it can send what a library refuses to send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, **login: str) -> AsyncIterator[Self]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**21)
        client = cls(reader, writer)
        await reader.readline()
        hello = {"verbose": False, "pedantic": False, "headers": True, "protocol": 1, **login}
        writer.write(b"CONNECT " + orjson.dumps(hello) + b"\r\n")
        try:
            await client.settle()
            yield client
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def publish(
        self, subject: str, body: bytes, reply: bytes = b"", headers: bytes | None = None
    ) -> None:
        words = [b"HPUB" if headers is not None else b"PUB", subject.encode()]
        words += [reply] if reply else []
        words += [str(len(headers)).encode()] if headers is not None else []
        head = headers or b""
        words.append(str(len(head) + len(body)).encode())
        self._writer.write(b" ".join(words) + b"\r\n" + head + body + b"\r\n")
        await self._writer.drain()

    async def settle(self) -> list[bytes]:
        """Wait until the server has read all that was sent, and return its errors."""
        self._writer.write(b"PING\r\n")
        errors: list[bytes] = []
        async with asyncio.timeout(WAIT_S):
            while (line := await self._reader.readline()) != b"PONG\r\n":
                if not line:
                    raise ConnectionError(f"The server closed the connection: {errors}")
                if line.startswith(b"-ERR"):
                    errors.append(line)
        return errors


@asynccontextmanager
async def service(house: House, server: Server, **nats: Any) -> AsyncIterator[App]:
    """Run the engine on a test's own server; yield once it receives messages."""
    house.config["nats"] = {"url": server.url} | nats
    app = house.app = build_app(house.settings)
    await app.start()
    try:
        yield app
    finally:
        await house.close()


@asynccontextmanager
async def starting(house: House, server: Server, **nats: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Start the engine on a test's own server; yield the task that starts it."""
    house.config["nats"] = {"url": server.url} | nats
    house.app = build_app(house.settings)
    task = asyncio.create_task(house.app.start())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            house.app = None
        await house.close()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return "lost" or "connected" for each log line about the connection to NATS."""
    lines = {"lost": "No connection to NATS", "connected": "Connected to NATS"}
    return [word for text in caplog.messages for word, line in lines.items() if line in text]
