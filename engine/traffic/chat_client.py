"""A bot of our own, for the terminal: it speaks to the engine over NATS only, as every bot does."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from typing import Any, Self

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.config.settings import NatsSettings, SubjectSettings
from engine.traffic.connect_errors import ConnectError
from engine.traffic.connection import CONNECT_TIMEOUT_S
from engine.traffic.listener import PROBE_HEADER
from engine.traffic.login import LoginError, client_options
from engine.traffic.nats_internals import NatsClient

ANSWER_TIMEOUT_S = 900.0
PROBE_TIMEOUT_S = 2.0
LOOK_EVERY_S = 1.0
GONE_AFTER_S = 4.0
Received = dict[str, Any]


class ServiceGone(Exception):
    """There has been no connection for seconds: whoever was to answer will not."""


class LineTooLong(Exception):
    """The server takes no message of that size. The text is a sentence for people."""


class ChatClient:
    """Sends the `!chat` lines of one channel and hears what is answered to them."""

    def __init__(self, client: Client, subjects: SubjectSettings, channel: str, user: str) -> None:
        self._client = client
        self._subjects = subjects
        self._channel = channel
        self._user = user
        self._heard: dict[str, asyncio.Queue[Received]] = {}

    @classmethod
    async def connect(
        cls,
        settings: NatsSettings,
        url: str,
        channel: str,
        user: str,
        limit_s: float = CONNECT_TIMEOUT_S,
    ) -> Self:
        """Raises Unreached where there is no server at `url`, or it does not let us in."""
        try:
            options = client_options(settings, url)
        except LoginError as exc:
            raise ConnectError(url, exc) from exc
        client = NatsClient()
        chat = cls(client, settings.subjects, channel, user)
        try:
            async with asyncio.timeout(limit_s):
                await client.connect(**options, error_cb=_quietly)
            subjects = settings.subjects
            for subject in (subjects.stream, subjects.response, subjects.error):
                await client.subscribe(subject, cb=chat._on_msg)
            await asyncio.sleep(0)
            await client.flush()
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            await chat.close()
            # nats-py tries again until the time is up.
            raise ConnectError(url, client.last_error or exc) from exc
        return chat

    async def service_answers(self) -> bool:
        """Whether an engine listens. It is asked nothing, and nobody else hears of it.

        Not by `$SRV.PING`: engines with other subjects answer that, too.
        """
        try:
            await self._client.request(
                self._subjects.request, b"{}", timeout=PROBE_TIMEOUT_S, headers={PROBE_HEADER: "1"}
            )
        except nats.errors.Error:  # nobody listens, nobody answers, or the server left meanwhile
            return False
        return True

    async def ask(self, line: str) -> AsyncGenerator[Received, None]:
        """Send `!chat <line>`; what is heard of it, the outcome last.

        Raises TimeoutError without an outcome, ServiceGone, LineTooLong.
        """
        request_id = uuid.uuid4().hex
        heard = self._heard[request_id] = asyncio.Queue()
        try:
            await self._send(line, request_id)
            while True:
                values = await self._next(heard)
                yield values
                if values.get("type") != "llm_delta":
                    return
        finally:
            del self._heard[request_id]

    async def stop(self) -> None:
        """Cut off the answer being written."""
        with contextlib.suppress(ServiceGone, nats.errors.Error):  # then nothing is being written
            await self._send("stop", uuid.uuid4().hex)
            # Whoever leaves next must not overtake it: the service may leave with us.
            await asyncio.sleep(0)
            await self._client.flush(timeout=2)

    async def gone(self) -> bool:
        """Whether the connection is lost and does not come back within seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_AFTER_S):
                while not (self._client.is_connected or self._client.is_closed):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY_S / 10)  # nats-py has no event for it
        return not self._client.is_connected

    async def close(self) -> None:
        # Where the server was killed, nats-py may wait for ever for its socket to close.
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._client.close()

    async def _send(self, line: str, request_id: str) -> None:
        message = {
            "command": "chat",
            "args": line,
            "channel_id": self._channel,
            "username": self._user,
            "request_id": request_id,
        }
        try:
            await self._client.publish(self._subjects.chat, orjson.dumps(message))
        except nats.errors.MaxPayloadError as exc:
            most = self._client.max_payload
            raise LineTooLong(f"The line is too long: a message has {most} bytes at most.") from exc
        except (nats.errors.ConnectionClosedError, nats.errors.OutboundBufferLimitError) as exc:
            raise ServiceGone from exc

    async def _next(self, heard: asyncio.Queue[Received]) -> Received:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        return await heard.get()
                if await self.gone():
                    raise ServiceGone

    async def _on_msg(self, msg: Msg) -> None:
        values = orjson.loads(msg.data)
        heard = self._heard.get(values.get("request_id", ""))
        if heard is not None:
            heard.put_nowait(values)


async def _quietly(_: Exception) -> None:
    """nats-py's own error callback prints tracebacks into the conversation."""
