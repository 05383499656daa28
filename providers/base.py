"""What every provider is: the seam between the engine and whoever runs the model.

A new provider subclasses `LLMProvider`, writes `chat` and `is_available`, and has the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from providers import validation
from providers.validation import Count, Limit, Seconds, Temperature

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)  # without slots: orjson then writes it six times as fast
class Message:
    """One message of a prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Options:
    """What one call asks for; None leaves it to the provider's configuration."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Completion(NamedTuple):
    """A whole answer. `finish_reason` is stop, length, content_filter, tool_calls or other."""

    content: str
    model: str
    finish_reason: str = "stop"
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a provider could answer now, and a sentence on what to do where it could not."""

    available: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """What every `[providers.<name>]` may say. Times in seconds.

    timeout: longest wait between two pieces of an answer.
    first_content_timeout: longest wait for the first piece; None means `timeout`.
    total_timeout: longest a whole call may take, retries included.
    max_concurrency: calls at once; further ones wait, first come, first served by channel.
    context_tokens: the prompt's budget; `model_context_tokens` says it for single models.
    """

    timeout: Seconds = 60.0
    connect_timeout: Seconds = 10.0
    first_content_timeout: Seconds | None = None
    total_timeout: Seconds = 600.0
    default_model: str = "default"
    max_retries: Limit = 2
    max_concurrency: Count = 64
    context_tokens: Count = 8192
    model_context_tokens: Mapping[str, Count] = field(default_factory=dict)
    temperature: Temperature | None = None
    max_tokens: Count | None = None


class LLMProvider(ABC):
    """One provider of language models.

    `config` is the provider's table in the configuration; a wrong one raises `ValidationError`.
    `name` is the table's name ("vllm"); `label` is how error texts call it ("OpenAI").
    All calls raise `ProviderError` and nothing else for what the provider does. They keep no state
    between calls, may run side by side, and stop at once when their task is cancelled.
    Retries, timeouts, concurrency and fallback are not a provider's business: the chain does them.
    """

    kind: ClassVar[str] = "provider"
    Config: ClassVar[type[ProviderConfig]] = ProviderConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        self.name = name or self.kind
        self.config = validation.read(dict(config or {}), self.Config, f"providers.{self.name}")

    @property
    def label(self) -> str:
        return self.name

    @abstractmethod
    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        """The whole answer to a prompt."""

    @abstractmethod
    async def is_available(self) -> bool:
        """Whether a call made now could be answered. Never raises; answers within seconds."""

    def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        """The answer in pieces: non-empty texts, then one `Completion` that holds them joined.

        A stream that ends without its Completion was cut off. Close it (`aclosing`) to stop it.
        """
        return self._whole(messages, options)

    async def _whole(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        completion = await self.chat(messages, options)
        if completion.content:
            yield completion.content
        yield completion

    async def complete(self, prompt: str, options: Options) -> Completion:
        """One raw completion: the prompt alone, without a system prompt or a conversation."""
        return await self.chat([Message("user", prompt)], options)

    async def status(self) -> Status:
        """`is_available` with a reason. Never raises; answers within seconds."""
        return Status(await self.is_available())

    async def models(self) -> list[str]:
        """The names of the models on offer; empty where the provider cannot tell."""
        return []

    async def start(self) -> None:
        """Called once before the first call. A provider may also start on demand."""

    async def aclose(self) -> None:
        """Called once after the last call; frees connections and child processes."""

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

    def settled(self, options: Options) -> tuple[str, float, int | None]:
        """Model, temperature (0.7 unless somebody said otherwise) and token cap of a call."""
        temperature = options.temperature
        if temperature is None:
            temperature = self.config.temperature
        return (
            options.model or self.config.default_model,
            0.7 if temperature is None else temperature,
            options.max_tokens or self.config.max_tokens,
        )

    def context_tokens(self, model: str | None = None) -> int:
        """How many tokens a prompt and its answer may hold together."""
        model = model or self.config.default_model
        return self.config.model_context_tokens.get(model, self.config.context_tokens)
