"""`LLMService`: the engine in process, without NATS, on the same actors and with the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.callers import Callers
from engine.commands.kinds import Chat, Command, Complete, Reset, SetPersona, ShowPersonas, Stop
from engine.commands.limits import check_name, check_request_id, check_text, new_request_id
from engine.engine import Engine
from engine.errors import EngineError, LLMError
from engine.mailbox import Request
from engine.outcomes import Answer
from engine.settings import Settings, parse
from engine.supervisor import SupervisorStatistics
from providers.base import LLMProvider


class LLMService:
    """A conversation engine. Starts on the first call, or with `async with`; close it after use.

    provider: one provider, or several in the order in which they are asked.
    settings: as from `rosey-llm.toml`; the defaults where it is None.
    database: a SQLite file; in memory where it is None, and then nothing survives.

    A call that does not end in an answer raises LLMError with the code of `llm.error`.
    """

    def __init__(
        self,
        provider: LLMProvider | Sequence[LLMProvider],
        *,
        settings: Settings | None = None,
        database: Path | str | None = None,
    ) -> None:
        settings = settings or parse({}, Path.cwd())
        self._callers = Callers()
        self._engine = Engine(
            [provider] if isinstance(provider, LLMProvider) else list(provider),
            settings,
            Path(database) if database else None,
            self._callers,
        )
        self._callers.connect(self._engine.database)
        self._settings = settings
        self._starting: asyncio.Task[None] | None = None

    @property
    def personas(self) -> list[str]:
        """The names of the personas there are."""
        return self._engine.personas.names

    async def chat(
        self,
        message: str,
        channel_id: str = "main",
        *,
        username: str = "User",
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        persona: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """One turn of a channel's conversation, in the order of the calls."""
        command = Chat(message, model, temperature, max_tokens, persona)
        return await self._ask(command, channel_id, username, request_id)

    async def complete(
        self,
        prompt: str,
        channel_id: str = "main",
        *,
        username: str = "User",
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """One raw completion; it neither reads nor changes a conversation."""
        command = Complete(prompt, model, temperature, max_tokens)
        return await self._ask(command, channel_id, username, request_id)

    async def reset(self, channel_id: str = "main", *, username: str = "User") -> Answer:
        """Start a channel's conversation afresh."""
        return await self._ask(Reset(), channel_id, username)

    async def set_persona(
        self, name: str, channel_id: str = "main", *, username: str = "User"
    ) -> Answer:
        """Switch a channel's persona from here on."""
        return await self._ask(SetPersona(name), channel_id, username)

    async def show_personas(self, channel_id: str = "main", *, username: str = "User") -> Answer:
        """The personas, and which one a channel uses."""
        return await self._ask(ShowPersonas(), channel_id, username)

    async def stop(self, channel_id: str = "main", *, username: str = "User") -> Answer:
        """Cut off the answer being written in a channel."""
        return await self._ask(Stop(), channel_id, username)

    def statistics(self) -> SupervisorStatistics:
        """Actors in memory, and commands that wait or run."""
        return self._engine.supervisor.statistics()

    async def start(self) -> None:
        """Open the database and go on with what waits in it. Called by the first call."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def aclose(self) -> None:
        """Finish the running turns, store everything, free everything."""
        if self._starting is not None:
            await self._engine.drain()
            await self._engine.aclose()
            self._callers.abandon()
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

    async def _start(self) -> None:
        await self._engine.start()
        await self._engine.resume()

    def _check(self, request: Request) -> None:
        limit, command = self._settings.conversation.max_message_bytes, request.command
        check_name("channel_id", request.channel_id, limit)
        check_name("username", request.username, limit)
        check_request_id(request.request_id)
        if isinstance(command, Chat | Complete):
            check_text(command.text, limit)
            check_name("model", command.model, limit)
            check_name("persona", command.persona, limit)

    async def _ask(
        self, command: Command, channel_id: str, username: str, request_id: str | None = None
    ) -> Answer:
        await self.start()
        request = Request(channel_id, request_id or new_request_id(), username, command)
        outcome = self._callers.expect(request)
        try:
            self._check(request)
            self._engine.supervisor.tell(request)
            return await outcome
        except LLMError:
            raise
        except EngineError as exc:
            raise LLMError(exc.code, str(exc), retry_after_s=exc.retry_after_s) from exc
        finally:
            self._callers.forget(request, outcome)
