"""`Client`: a bot's questions to a running service over NATS, and their answers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from engine.client.nats_link import PROBE, NatsLink
from engine.client.open_request import OpenRequest
from engine.client.open_requests import OpenRequests, not_permitted
from engine.client.outcome_stream import OutcomeStream
from engine.client.pieces import Pieces
from engine.client.subjects import Subjects
from engine.commands.outcomes import Answer
from engine.commands.sender import SENDER_KEYS, SenderFields, fields_of
from engine.errors import LLMError

log = logging.getLogger("rosey_llm.client")

TIMEOUT_S = 600.0
REPEAT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class Asking(SenderFields, total=False):
    """What may be added to each request.

    - `sender`: who speaks, a `Sender`; or, one by one:
    - `username`, `user_id`, `roles`, `is_bot`: its fields
    - `request_id`: identifies the request, also for another process that asks again; random
    - `timeout_s`: how long to wait for an outcome; 600 s
    """

    request_id: str
    timeout_s: float


class AskingModel(Asking, total=False):
    """What may be added to a question to a model. The fields here hold for this question alone."""

    model: str
    temperature: float
    max_tokens: int
    persona: str


class Client:
    """A client of a running service. One serves a whole bot: all rooms, many questions at once.

    >>> async with Client() as rosey:
    ...     alice = Sender("alice", user_id="irc/alice", roles=["op"])
    ...     answer = await rosey.chat("Hello", "irc/#lobby", sender=alice)

    - `address`: of NATS, with the bot's login, such as "nats://bot:secret@host:4222", or the path
      of a file that has it. Without it, that of the service that was started in this folder.
    - `subjects`: if the service has renamed its own
    - `options`: more options for `nats.connect`, such as `tls` or `user_credentials`
    - `repeat_s`: how often a request without an outcome is sent again; it is answered once

    A lost connection is made again. A request is sent again with the same id after a lost
    connection, while nobody listens, and every `repeat_s`, until it has its outcome or its time is
    up. Every call raises LLMError: with a code of `llm.error`, or with "no_answer" if none came in
    time, "not_permitted" if NATS does not let this login ask, "closed" if the client was closed.
    """

    def __init__(
        self,
        address: str | Path | None = None,
        *,
        subjects: Subjects | None = None,
        options: Mapping[str, Any] | None = None,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._subjects = subjects or Subjects()
        self._repeat_s = repeat_s
        self._requests = OpenRequests(self._subjects)
        self._link = NatsLink(address, options or {}, self._subjects, self._requests)
        self._is_open = self._told_unheard = False

    async def __aenter__(self) -> Self:
        """Connect. Raise CannotConnect if NATS cannot be reached, or refuses the login."""
        await self._link.open()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._requests.end()
        await self._link.close()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to NATS now."""
        return self._link.is_connected

    async def is_served(self, timeout_s: float = 2.0) -> bool:
        """Return whether a service listens now that this login may ask. Other bots hear nothing."""
        self._check_open()
        request = self._requests.open(self._subjects.request, "", {}, None)
        try:
            if not await self._link.publish(request.subject, request.body, request.token, PROBE):
                return False
            await request.wait(timeout_s)
        finally:
            self._requests.close(request)
        # Only a service answers a probe, by an error of its own.
        failure = request.outcome.exception() if request.outcome.done() else None
        return isinstance(failure, LLMError) and failure.code == "invalid_request"

    async def chat(self, message: str, channel_id: str, **more: Unpack[AskingModel]) -> Answer:
        """Ask in a channel's conversation. The message is never read as a command."""
        return await self._request("chat", channel_id, more, message=message)

    def stream(self, message: str, channel_id: str, **more: Unpack[AskingModel]) -> Pieces:
        """Do what `chat` does, and give the answer in pieces while it grows."""
        fields = {"action": "chat", "message": message, "stream": True}
        return self._pieces(self._subjects.request, channel_id, fields, more)

    async def command(self, line: str, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Send what a user typed after `!chat`: a question, or "help", "model", "stop", ..."""
        return await self._ask(self._subjects.chat, channel_id, {"args": line}, more)

    def stream_command(self, line: str, channel_id: str, **more: Unpack[Asking]) -> Pieces:
        """Do what `command` does, in pieces if the service has `[conversation] stream` on."""
        return self._pieces(self._subjects.chat, channel_id, {"args": line}, more)

    def follow(self, request_id: str, channel_id: str, timeout_s: float = TIMEOUT_S) -> Pieces:
        """Hear an answer that was asked for elsewhere, in pieces if it has some. Nothing is sent.

        If its outcome has come before this, it does not come again.
        """
        return Pieces(
            lambda: self._begin("", channel_id, {}, {"request_id": request_id}),
            lambda request: self._outcome(request, timeout_s),
        )

    async def complete(
        self, prompt: str, channel_id: str = "main", **more: Unpack[AskingModel]
    ) -> Answer:
        """Run one raw completion; it neither reads nor changes a conversation."""
        return await self._request("complete", channel_id, more, message=prompt)

    async def reset(self, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Clear a channel's conversation."""
        return await self._request("reset", channel_id, more)

    async def set_persona(self, name: str, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Switch a channel's persona."""
        if len(name.split()) != 1:
            raise LLMError("unknown_persona", f"A persona's name is one word, not {name!r}.")
        return await self.command(f"persona {name}", channel_id, **more)

    async def set_model(self, name: str, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Switch a channel's model, if the service lets this sender; "default" switches back."""
        if len(name.split()) != 1:
            raise LLMError("not_allowed", f"A model's name is one word, not {name!r}.")
        return await self.command(f"model {name}", channel_id, **more)

    async def stop(
        self, channel_id: str, *, everything: bool = False, **more: Unpack[Asking]
    ) -> Answer:
        """Stop the answer that is being written in a channel, and drop what its sender has waiting.

        everything: drop what all senders have waiting there.
        """
        return await self.command("stop all" if everything else "stop", channel_id, **more)

    def outcomes(self) -> OutcomeStream:
        """Return all outcomes from now on, those of other bots too, each of them once."""
        self._check_open()
        if not self._link.hears_shared:
            raise not_permitted("subscribe", self._subjects.response)
        return self._requests.stream()

    async def _request(
        self, action: str, channel_id: str, more: Mapping[str, Any], **fields: str
    ) -> Answer:
        fields["action"] = action
        return await self._ask(self._subjects.request, channel_id, fields, more)

    async def _ask(
        self, subject: str, channel_id: str, fields: Mapping[str, Any], more: Mapping[str, Any]
    ) -> Answer:
        request = self._begin(subject, channel_id, fields, more)
        return await self._outcome(request, more.get("timeout_s"))

    def _pieces(
        self, subject: str, channel_id: str, fields: Mapping[str, Any], more: Mapping[str, Any]
    ) -> Pieces:
        return Pieces(
            lambda: self._begin(subject, channel_id, fields, more),
            lambda request: self._outcome(request, more.get("timeout_s")),
        )

    def _begin(
        self, subject: str, channel_id: str, fields: Mapping[str, Any], more: Mapping[str, Any]
    ) -> OpenRequest:
        self._check_open()
        if unknown := more.keys() - AskingModel.__annotations__.keys():
            raise TypeError(f"Unexpected arguments: {', '.join(sorted(unknown))}.")
        sender = fields_of({name: more[name] for name in SENDER_KEYS & more.keys()})
        given = {
            name: value
            for name, value in more.items()
            if name not in SENDER_KEYS and value is not None
        }
        request_id = given.pop("request_id", None)
        given.pop("timeout_s", None)
        return self._requests.open(subject, channel_id, {**fields, **sender, **given}, request_id)

    async def _outcome(self, request: OpenRequest, timeout_s: float | None) -> Answer:
        """Send the request until it has its outcome, and return that."""
        limit_s = TIMEOUT_S if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                if request.subject:
                    await self._send_until_settled(request)
                else:  # it was sent elsewhere
                    await asyncio.wait({request.outcome})
        except TimeoutError:
            missing = LLMError("no_answer", self._missing(request, limit_s))
            request.fail(request.refusal or missing)
        finally:
            self._requests.close(request)
        return request.outcome.result()

    async def _send_until_settled(self, request: OpenRequest) -> None:
        pause_s = FIRST_PAUSE_S
        while not request.outcome.done():
            request.begin_copy()
            try:
                await self._link.publish(request.subject, request.body, request.token)
            except ValueError as exc:  # it is too long
                request.fail(LLMError("invalid_request", str(exc)))
            await request.wait(self._repeat_s)
            if not request.is_heard:
                self._tell_unheard(request.subject)
                request.woken.clear()
                await request.wait(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            elif request.refusal is not None:
                request.woken.clear()
                await request.wait(request.refusal.retry_after_s or self._repeat_s)
        self._told_unheard = False

    def _tell_unheard(self, subject: str) -> None:
        """Say it once, until a request has its outcome again."""
        if not self._told_unheard:
            self._told_unheard = True
            log.warning(
                "Nobody listens on %(subject)s: start the service, for example with rosey-llm run."
                " What is asked waits for it.",
                {"event": "client.unheard", "subject": subject},
            )

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("Use the client within `async with Client(...) as rosey:`.")

    def _missing(self, request: OpenRequest, limit_s: float) -> str:
        if not self.is_connected:
            why = "The connection to NATS is lost; it is made again by itself."
        elif not (request.is_heard and request.was_heard):
            why = f"Nobody listens on {request.subject}: start the service."
        else:
            why = "The service may still be at work: ask again with the same request_id."
        return f"No answer within {limit_s:g} s. {why}"
