"""A whole engine for a test, with a real nats-server, a real SQLite file and a fake LLM server."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nats
import nats.errors
import orjson
import tomlkit
from fastjsonschema import JsonSchemaException
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine import LLMService
from engine.app import App, build_app
from engine.config.changes import Changes
from engine.config.loading import parse
from engine.config.settings import Settings
from tests.fakes.llm_server import LLMServer
from tests.support.bot_urls import url_of
from tests.support.patience import WAIT_S
from tests.support.wire_schema import check_sent

ReceivedMessage = dict[str, Any]


class Bot:
    """A bot as a stranger would write it from the documents, without any of our code.

    received: messages, decoded, in order. raw: their bytes. wrong: what no schema allows of them;
    `until` and `close` raise it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received: list[ReceivedMessage] = []
        self.raw: list[bytes] = []
        self.wrong: list[str] = []
        self._changed = asyncio.Condition()

    @classmethod
    async def connect(cls, url: str, **options: Any) -> Self:
        bot = cls(await nats.connect(url, **options))
        for subject in ("llm.response", "llm.error", "llm.stream"):
            await bot.client.subscribe(subject, cb=bot._on_msg)
        await bot.flush()
        return bot

    async def _on_msg(self, msg: Msg) -> None:
        async with self._changed:
            self.received.append(self._checked(msg.data))
            self.raw.append(msg.data)
            self._changed.notify_all()

    async def chat(self, line: str, channel: str = "#lobby", **more: Any) -> None:
        """Send `!chat <line>`; return before any answer."""
        await self.send("rosey.command.chat", _command(line.split(" "), channel) | more)

    async def request(self, **message: Any) -> None:
        await self.send("llm.request", {"action": "chat", "channel_id": "#lobby"} | message)

    async def send(self, subject: str, message: Mapping[str, Any] | bytes, **more: Any) -> None:
        body = message if isinstance(message, bytes) else orjson.dumps(message)
        await self.client.publish(subject, body, **more)

    async def ask(
        self, line: str, channel: str = "#lobby", timeout: float = WAIT_S, **more: Any
    ) -> ReceivedMessage:
        """Send `!chat <line>`, and return its outcome."""
        return await self.call("rosey.command.chat", _command(line, channel) | more, timeout)

    async def ask_until_answered(self, line: str, **more: Any) -> ReceivedMessage:
        """Ask as a careful bot does: with a request id, and again if no answer comes."""
        for _ in range(100):
            try:
                return await self.ask(line, timeout=1.0, **more)
            except nats.errors.Error:
                await asyncio.sleep(0.05)
        raise AssertionError("no answer came")

    async def call(
        self,
        subject: str,
        message: Mapping[str, Any] | bytes,
        timeout: float = WAIT_S,
        **more: Any,
    ) -> ReceivedMessage:
        body = message if isinstance(message, bytes) else orjson.dumps(message)
        reply = await self.client.request(subject, body, timeout=timeout, **more)
        return self._checked(reply.data)

    def _checked(self, data: bytes) -> ReceivedMessage:
        message: ReceivedMessage = orjson.loads(data)
        try:
            check_sent(message)
        except JsonSchemaException as exc:
            self.wrong.append(f"{exc}: {message}")
        return message

    async def outcomes(self, count: int) -> list[ReceivedMessage]:
        """Return the first `count` outcomes, in the order received, once they are there."""
        await self.until(lambda: len(self.received_outcomes()) >= count)
        return self.received_outcomes()[:count]

    async def deltas(self, count: int) -> list[ReceivedMessage]:
        await self.until(lambda: len(self.received_deltas()) >= count)
        return self.received_deltas()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until the messages received make `reached` true."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(reached)
        assert self.wrong == []

    async def flush(self) -> None:
        await asyncio.sleep(0)
        await self.client.flush()

    async def close(self) -> None:
        # If the server was killed, nats-py may wait for ever for its socket to close. In its first
        # 2 s it would swallow a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(4):
                await self.client.close()
        assert self.wrong == []

    def received_outcomes(self) -> list[ReceivedMessage]:
        return [each for each in self.received if each["type"] != "llm_delta"]

    def received_deltas(self) -> list[ReceivedMessage]:
        return [each for each in self.received if each["type"] == "llm_delta"]


def _command(args: object, channel: str) -> ReceivedMessage:
    return {"command": "chat", "args": args, "channel_id": channel, "username": "alice"}


class House:
    """An engine that a test can start, stop and restart; `bot` is connected while it runs.

    config: the configuration; a test changes it before `open`, `restart` or `reload`.
    """

    def __init__(self, folder: Path, llm: LLMServer) -> None:
        self.folder = folder
        self.llm = llm
        self.config: dict[str, Any] = {
            "default_provider": "openai",
            "fallback_providers": [],
            "nats": {"port": 0},
            "http": {"port": 0},
            "providers": {
                "openai": {
                    "base_url": f"{llm.url}/v1",
                    "api_key": "sk-house-key",
                    "max_retries": 0,
                    "default_model": "test-model",
                }
            },
        }
        self.app: App | None = None
        self.bots: list[Bot] = []

    @property
    def settings(self) -> Settings:
        return parse(self.config, self.folder)

    @property
    def file(self) -> Path:
        """The configuration file; only `reload` writes it."""
        return self.folder / "rosey-llm.toml"

    @property
    def bot(self) -> Bot:
        return self.bots[0]

    @property
    def url(self) -> str:
        """The address of NATS, with a login for bots if the service runs it."""
        assert self.app is not None
        return url_of(self.app)

    async def open(self) -> Self:
        self.app = build_app(self.settings, self.file)
        await self.app.start()
        await self.new_bot()
        return self

    async def reload(self) -> Changes:
        """Write `config` to the service's file, and have the service reload it."""
        assert self.app is not None
        self.file.write_text(tomlkit.dumps(self.config))
        return await self.app.reloader.reload()

    async def new_bot(self, **options: Any) -> Bot:
        bot = await Bot.connect(self.url, **options)
        self.bots.append(bot)
        return bot

    async def close(self) -> None:
        for bot in self.bots:
            await bot.close()
        self.bots = []
        if self.app is not None:
            await self.app.drain()
            self.app = None

    async def restart(self) -> None:
        await self.close()
        await self.open()

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Query the database as an operator would, with a new connection."""
        path = self.folder / "data" / "rosey-llm.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]
        finally:
            connection.close()

    def history(self, channel: str = "#lobby") -> list[tuple[str, str]]:
        """Return (kind, content) of a channel's rows, oldest first."""
        rows = self.rows(
            "SELECT kind, content FROM history h JOIN channel c ON c.id = h.channel_id"
            " WHERE c.name = ? ORDER BY h.id",
            channel,
        )
        return [(row["kind"], row["content"]) for row in rows]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def rests_for_long(service: House | LLMService) -> None:
    """Let circuits that open stay open for an hour, so that no test depends on a second."""
    owner = service.app if isinstance(service, House) else service
    assert owner is not None
    for link in owner.inspect().engine.chain._links:
        link._breaker._cooldown_s = 3600.0
