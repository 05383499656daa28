"""The NATS client behind `rosey-llm chat`. It talks to the engine as every bot does."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Self

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.client.connect_problems import most_telling
from engine.client.credentials import LoginError
from engine.client.nats_client import NatsClient
from engine.client.subjects import PROBE_HEADER
from engine.config.settings import NatsSettings, SubjectSettings
from engine.traffic.connect_errors import ConnectError
from engine.traffic.connection import CONNECT_TIMEOUT_S
from engine.traffic.login import client_options

ANSWER_TIMEOUT_S = 900.0
PROBE_TIMEOUT_S = 2.0
POLL_S = 1.0
ERRORS_KEPT = 16
GONE_AFTER_S = 4.0
Received = dict[str, Any]


class ServiceGone(Exception):
    """The connection has been lost for seconds; no answer will come."""


class TextTooLong(Exception):
    """The text does not fit into a message that the server takes. The text is for people."""


class ChatClient:
    """A bot in one channel: it sends `!chat` lines and receives their answers."""

    def __init__(self, client: Client, subjects: SubjectSettings, channel: str, user: str) -> None:
        self._client = client
        self._subjects = subjects
        self._channel = channel
        self._user = user
        self._queues: dict[str, asyncio.Queue[Received]] = {}

    @classmethod
    async def connect(
        cls,
        settings: NatsSettings,
        url: str,
        channel: str,
        user: str,
        limit_s: float = CONNECT_TIMEOUT_S,
    ) -> Self:
        """Raise ConnectError if there is no server at `url`, or if it refuses the connection."""
        try:
            options = client_options(settings, url)
        except LoginError as exc:
            raise ConnectError(url, exc) from exc
        client = NatsClient()
        chat = cls(client, settings.subjects, channel, user)
        errors: deque[BaseException] = deque(maxlen=ERRORS_KEPT)

        async def note(exc: Exception) -> None:
            # nats-py's own callback prints tracebacks into the conversation.
            errors.append(exc)

        try:
            async with asyncio.timeout(limit_s):
                await client.connect(**options, error_cb=note)
            subjects = settings.subjects
            for subject in (subjects.stream, subjects.response, subjects.error):
                await client.subscribe(subject, cb=chat._on_msg)
            await asyncio.sleep(0)
            await client.flush()
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            await chat.close()
            # nats-py retries until the time is up; an error of its own says more than the timeout.
            reasons = [exc, *filter(None, (client.last_error,)), *errors]
            raise ConnectError(url, most_telling(reasons)) from exc
        return chat

    async def service_answers(self) -> bool:
        """Return whether an engine listens on our subjects. Other bots do not see the question.

        `$SRV.PING` cannot tell: engines with other subjects answer it, too.
        """
        try:
            await self._client.request(
                self._subjects.request, b"{}", timeout=PROBE_TIMEOUT_S, headers={PROBE_HEADER: "1"}
            )
        except nats.errors.Error:  # no engine listens, it does not answer, or NATS is down
            return False
        return True

    def ask(
        self, text: str, request_id: str | None = None, *, is_command: bool = True
    ) -> AsyncGenerator[Received, None]:
        """Send `!chat <text>` and yield its messages: deltas first, the outcome last.

        If `is_command` is not set, the text is a question, also if it has the form of a command.
        Raise TimeoutError if no outcome comes, ServiceGone, or TextTooLong.
        """
        return self._messages(request_id or uuid.uuid4().hex, text, is_command=is_command)

    def follow(self, request_id: str) -> AsyncGenerator[Received, None]:
        """Yield the messages of a request that was sent before, perhaps by another client.

        Raise TimeoutError if no outcome comes, or ServiceGone.
        """
        return self._messages(request_id, None)

    async def _messages(
        self, request_id: str, text: str | None, *, is_command: bool = True
    ) -> AsyncGenerator[Received, None]:
        queue = self._queues[request_id] = asyncio.Queue()
        try:
            if text is not None:
                await self._send(text, request_id, is_command=is_command)
            while True:
                values = await self._next(queue)
                yield values
                if values.get("type") != "llm_delta":
                    return
        finally:
            del self._queues[request_id]

    async def stop(self) -> None:
        """Stop the answer that is being written."""
        with contextlib.suppress(ServiceGone, nats.errors.Error):  # then nothing is being written
            await self._send("stop", uuid.uuid4().hex)
            # The process may end next, and the service with it: the message must be out by then.
            await asyncio.sleep(0)
            await self._client.flush(timeout=2)

    async def gone(self) -> bool:
        """Return whether the connection is lost and stays lost for GONE_AFTER_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_AFTER_S):
                while not (self._client.is_connected or self._client.is_closed):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S / 10)  # nats-py has no event for it
        return not self._client.is_connected

    async def close(self) -> None:
        # If the server was killed, nats-py may wait for ever for its socket to close.
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._client.close()

    async def _send(self, text: str, request_id: str, *, is_command: bool = True) -> None:
        subject = self._subjects.chat if is_command else self._subjects.request
        message = {
            **({"command": "chat", "args": text} if is_command else _question(text)),
            "channel_id": self._channel,
            "username": self._user,
            "request_id": request_id,
        }
        try:
            await self._client.publish(subject, orjson.dumps(message))
        except nats.errors.MaxPayloadError as exc:
            most = self._client.max_payload
            raise TextTooLong(
                f"The text is too long: a message may have {most} bytes. Send a shorter one."
            ) from exc
        except (nats.errors.ConnectionClosedError, nats.errors.OutboundBufferLimitError) as exc:
            raise ServiceGone from exc

    async def _next(self, queue: asyncio.Queue[Received]) -> Received:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        return await queue.get()
                if await self.gone():
                    raise ServiceGone

    async def _on_msg(self, msg: Msg) -> None:
        values = orjson.loads(msg.data)
        queue = self._queues.get(values.get("request_id", ""))
        if queue is not None:
            queue.put_nowait(values)


def _question(text: str) -> Received:
    return {"action": "chat", "message": text, "stream": True}
