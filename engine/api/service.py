"""`LLMService`: the engine in process, without NATS, with the same actors and message order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, Unpack

from engine.actors.local_ledger import LocalLedger
from engine.actors.supervisor import SupervisorStatistics
from engine.api.answer_stream import AnswerStream, GrowingAnswer
from engine.api.inspection import Inspection
from engine.api.pending_calls import PendingCalls
from engine.commands.observer import Observers
from engine.commands.outcomes import Answer
from engine.commands.records import (
    Chat,
    Command,
    Complete,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    Stop,
)
from engine.commands.request import ANONYMOUS, Request
from engine.commands.sender import SenderFields, fields_of
from engine.commands.validation import (
    Choices,
    check_channel_id,
    check_choices,
    check_is_bot,
    check_name,
    check_request_id,
    check_roles,
    check_text,
    check_user_id,
    new_request_id,
)
from engine.config import persona_tables, rule_checks
from engine.config.loading import load, parse
from engine.config.personas import Persona
from engine.config.settings import Settings
from engine.engine import Engine
from engine.errors import CannotStart, EngineError, InvalidRequest, RoomError
from engine.monitoring import tracing
from engine.monitoring.counts import Counts
from engine.monitoring.turn_log import TurnLog
from engine.texts.texts import Texts
from providers.base import LLMProvider
from storage.errors import StorageError
from storage.writer.database import Database


class LLMService:
    """A conversation engine. Starts on the first call, or with `async with`; close it after use.

    provider: one provider, or several in the order in which they are asked; None means those of
        the configuration, by default Ollama, or else the embedded model.
    config: the path of a `rosey-llm.toml`, or what `load_settings` makes of it. Its providers,
        personas and `[storage] path` are used, unless the other arguments name others.
    personas: more personas by name, each a prompt or a `Persona`.
    database: a SQLite file; ":memory:" keeps all data in memory, until the process ends. None means
        the file of `config`, or memory without one.
    settings: as `config`, but without its providers and its file.

    Channel rules can name the providers that are given, and no others.

    Wrong arguments raise ValueError, and a file that cannot be read CannotStart.

    Each call also takes who speaks, for limits, permissions and memory: `sender`, or `username`,
    `user_id`, `roles` and `is_bot` one by one (`Sender`).

    A call without an answer raises LLMError with a code of `llm.error`. Wrong arguments have the
    code "invalid_request", and nothing of such a call is stored. Calls also raise CannotStart if
    the database cannot be used (the next call tries again), and RuntimeError after `aclose` or in
    another event loop than that of the start.
    """

    def __init__(
        self,
        provider: LLMProvider | Sequence[LLMProvider] | None = None,
        *,
        config: Path | str | Settings | None = None,
        personas: Mapping[str, Persona | str] | None = None,
        database: Path | str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if config is not None:
            if settings is not None:
                raise ValueError("config, settings: give one of them")
            settings = config if isinstance(config, Settings) else load(Path(config))
            database = database or settings.storage.path
        settings = persona_tables.added(settings or parse({}, Path.cwd()), personas or {})
        is_given = provider is not None
        if provider is None:
            provider = settings.new_providers()
        self._counts = Counts()
        self._providers = [provider] if isinstance(provider, LLMProvider) else list(provider)
        if not all(isinstance(each, LLMProvider) for each in self._providers):
            raise ValueError(f"provider: expected an LLMProvider, or several, got {provider!r}")
        if is_given and self._providers:  # without one, the engine says so
            settings = rule_checks.with_given_providers(settings, [p.name for p in self._providers])
        self._database = Path(database) if database and str(database) != ":memory:" else None
        self._settings = settings
        self._engine = self._new_engine()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closing = asyncio.Lock()
        self._closed = False

    @property
    def personas(self) -> list[str]:
        """The names of all personas."""
        return self._engine.personas.names

    async def chat(
        self,
        message: str,
        channel_id: str = "main",
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        persona: str | None = None,
        request_id: str | None = None,
        **sender: Unpack[SenderFields],
    ) -> Answer:
        """Run one turn of a conversation. A channel's calls run in the order they are made."""
        command = Chat(message, model, temperature, max_tokens, persona)
        return await self._call(command, channel_id, sender, request_id)

    def stream(
        self,
        message: str,
        channel_id: str = "main",
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        persona: str | None = None,
        request_id: str | None = None,
        **sender: Unpack[SenderFields],
    ) -> AnswerStream:
        """Run one turn of a conversation, and give the answer in pieces; closing it stops it.

        >>> async with service.stream("Tell me a story") as pieces:
        ...     async for piece in pieces:
        ...         print(piece, end="")
        >>> pieces.answer.finish_reason
        """
        command = Chat(message, model, temperature, max_tokens, persona, stream=True)
        request = _request(command, channel_id, sender, request_id)
        return AnswerStream(partial(self._grow, request), partial(self._stop_growing, request))

    async def complete(
        self,
        prompt: str,
        channel_id: str = "main",
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        request_id: str | None = None,
        **sender: Unpack[SenderFields],
    ) -> Answer:
        """Run one raw completion; it neither reads nor changes a conversation."""
        command = Complete(prompt, model, temperature, max_tokens)
        return await self._call(command, channel_id, sender, request_id)

    async def reset(self, channel_id: str = "main", **sender: Unpack[SenderFields]) -> Answer:
        """Clear a channel's conversation."""
        return await self._call(Reset(), channel_id, sender)

    async def set_persona(
        self, name: str, channel_id: str = "main", **sender: Unpack[SenderFields]
    ) -> Answer:
        """Switch a channel's persona."""
        return await self._call(SetPersona(name), channel_id, sender)

    async def show_personas(
        self, channel_id: str = "main", **sender: Unpack[SenderFields]
    ) -> Answer:
        """Return the personas, and which one the channel uses, as text."""
        return await self._call(ShowPersonas(), channel_id, sender)

    async def set_model(
        self, name: str, channel_id: str = "main", **sender: Unpack[SenderFields]
    ) -> Answer:
        """Switch a channel's model to one of `[models] allow`, or back: "default"."""
        return await self._call(SetModel(name), channel_id, sender)

    async def show_model(self, channel_id: str = "main", **sender: Unpack[SenderFields]) -> Answer:
        """Return the model that a channel uses, and as text which it may choose."""
        return await self._call(ShowModel(), channel_id, sender)

    async def stop(
        self,
        channel_id: str = "main",
        *,
        everything: bool = False,
        **sender: Unpack[SenderFields],
    ) -> Answer:
        """Cut off a channel's running answer, and drop what this user has waiting there.

        everything: drop what waits there of all users.
        """
        return await self._call(Stop(everything=everything), channel_id, sender)

    def statistics(self) -> SupervisorStatistics:
        """Return the number of actors in memory, and of commands that wait or run."""
        return self._engine.supervisor.statistics()

    def inspect(self) -> Inspection:
        """Return the engine's parts, for tests and debugging; they may change in any version."""
        return Inspection(self._engine)

    async def metrics(self) -> bytes:
        """Return the metrics since `start` in Prometheus' text format."""
        from engine.monitoring.prometheus import PrometheusMetrics

        return await PrometheusMetrics(self._engine, self._counts).render()

    async def start(self) -> None:
        """Open the database and resume its waiting commands. The first call does this by itself.

        Raises CannotStart if the database cannot be used; may be called again then.
        """
        self._check_loop()
        if self._closed:
            raise RuntimeError("The service is closed. Create a new one.")
        if self._starting is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(_retrieve)
        await asyncio.shield(self._starting)

    async def aclose(self) -> None:
        """Finish the running turns, store all state, free all resources. May be called twice."""
        self._check_loop()
        self._closed = True
        async with self._closing:
            if self._starting is not None:
                await asyncio.wait({self._starting})
            if self._starting is not None:  # it did not fail
                await self._engine.drain()
            await self._engine.aclose()
            self._pending_calls.abandon()
            self._starting = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _new_engine(self) -> Engine:
        self._observers = Observers([self._counts, TurnLog(failed_level=logging.INFO)])
        database = Database(
            self._database,
            self._settings.storage.durability,
            backup_before_migration=self._settings.storage.backup_before_migration,
            on_commit=self._observers.committed,
        )
        ledger = LocalLedger(database)
        texts = Texts()
        self._pending_calls = PendingCalls(ledger, texts)
        return Engine(
            database,
            ledger,
            self._providers,
            self._settings,
            self._pending_calls,
            self._observers,
            texts=texts,
        )

    async def _start(self) -> None:
        try:
            await self._engine.start()
            tracing.begin(self._settings.tracing, self._settings.name, self._observers)
            await self._engine.resume()
        except StorageError as exc:
            await self._forget_start()
            raise CannotStart(str(exc)) from exc
        except BaseException:
            await self._forget_start()
            raise

    async def _forget_start(self) -> None:
        """Free the file, and create a new engine for the next start: an engine starts only once.

        The providers stay open until `aclose`: a closed provider cannot be started again.
        """
        try:
            await self._engine.drain()
            await self._engine.database.close()
        finally:
            self._engine = self._new_engine()
            self._starting = self._loop = None

    def _check_loop(self) -> None:
        if self._loop not in (None, asyncio.get_running_loop()):
            raise RuntimeError(
                "The service was started in another event loop. Create one service for each loop."
            )

    def _check(self, request: Request) -> None:
        limit, command = self._settings.conversation.max_message_bytes, request.command
        check_channel_id(request.channel_id, limit)
        check_name("username", request.username, limit)
        check_user_id(request.user_id)
        check_roles(request.roles)
        check_is_bot(request.is_bot)
        check_request_id(request.request_id)
        if isinstance(command, Chat | Complete):
            check_text(command.text, limit)
            choices = Choices(
                command.model, command.temperature, command.max_tokens, command.persona
            )
            check_choices(choices, limit)
        elif isinstance(command, SetPersona):
            check_choices(Choices(persona=command.name), limit)
        elif isinstance(command, SetModel):
            check_choices(Choices(model=command.name), limit)

    async def _call(
        self,
        command: Command,
        channel_id: str,
        sender: SenderFields,
        request_id: str | None = None,
    ) -> Answer:
        request = _request(command, channel_id, sender, request_id)
        try:
            await self._make_ready_for(request)
            outcome = self._pending_calls.expect(request)
            try:
                self._engine.supervisor.tell(request)
                return await outcome
            finally:
                self._pending_calls.forget(request, outcome)
        except EngineError as exc:
            self._raise_to_caller(request, exc)

    async def _grow(self, request: Request) -> GrowingAnswer:
        try:
            await self._make_ready_for(request)
            growing = self._pending_calls.grow(request)
            try:
                self._engine.supervisor.tell(request)
            except EngineError:
                self._pending_calls.stop_growing(request, growing)
                self._pending_calls.forget(request, growing.outcome)
                raise
        except EngineError as exc:
            self._raise_to_caller(request, exc)
        return growing

    def _stop_growing(self, request: Request, growing: GrowingAnswer) -> bool:
        last = self._pending_calls.stop_growing(request, growing)
        return last and self._engine.supervisor.cancel(request.channel_id, request.request_id)

    async def _make_ready_for(self, request: Request) -> None:
        """Check the request and start the service."""
        self._check(request)
        await self.start()
        if self._closed:
            raise self._pending_calls.closed(request.channel_id)

    def _raise_to_caller(self, request: Request, exc: EngineError) -> NoReturn:
        """Raise an error as callers get it."""
        if not isinstance(exc, RoomError):
            raise exc
        if isinstance(exc, InvalidRequest):
            self._observers.refused(request.channel_id, request.request_id, exc.code)
        failure = request.refusal(exc, self._engine.texts)
        if request.is_bot and not isinstance(exc, InvalidRequest):
            failure = failure._replace(error="")  # as for a bot on NATS: it must not be answered
        raise failure.as_error() from exc


def _request(
    command: Command, channel_id: str, sender: SenderFields, request_id: str | None
) -> Request:
    who = fields_of(sender)
    username, roles = who.get("username", ANONYMOUS), who.get("roles", ())
    if isinstance(username, str):
        username = username.strip() or ANONYMOUS
    return Request(
        channel_id,
        request_id or new_request_id(),
        username,
        command,
        user_id=who.get("user_id") or None,
        roles=tuple(roles) if isinstance(roles, list) else roles,
        is_bot=who.get("is_bot", False),
        by_program=True,
        has_given_id=bool(request_id),
    )


def _retrieve(start: asyncio.Task[None]) -> None:
    """Retrieve the exception; asyncio would log it if all callers were cancelled."""
    if not start.cancelled():
        start.exception()
