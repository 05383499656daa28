"""The base class of all providers, `LLMProvider`, and the records of its calls.

A new provider subclasses `LLMProvider` and writes `chat` and `is_available`; the rest has defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from providers import validation
from providers.errors import ParameterRefused
from providers.validation import Count, Limit, Seconds, Temperature

Role = Literal["system", "user", "assistant"]
Billing = Literal["unknown", "reported", "free"]


@dataclass(frozen=True)  # without slots: orjson then writes it six times as fast
class Message:
    """One message of a prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of one call. None means: as the provider is configured."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a call, as the provider counted them.

    cached_tokens: those of the prompt that it had in its cache, and may bill less.
    cost_usd: what it says that the call costs; None if it does not say.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost_usd: float | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Completion(NamedTuple):
    """A whole answer. `finish_reason` is stop, length, content_filter, tool_calls or other.

    sent_as: the changes that the provider made to the prompt before it sent it, by name.
    prompt_cut: whether the server seems to have dropped the start of the prompt without a word.
    """

    content: str
    model: str
    finish_reason: str = "stop"
    usage: Usage | None = None
    sent_as: tuple[str, ...] = ()
    prompt_cut: bool = False


class Moderation(NamedTuple):
    """A judgement of a text.

    flagged: whether it should not be shown.
    categories: why, in the words of who judged; nothing of the text is in them.
    """

    flagged: bool
    categories: tuple[str, ...] = ()


class CallSettings(NamedTuple):
    """The values that a call is made with; `max_tokens` None means no limit of ours."""

    model: str
    temperature: float
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """The availability of a provider; if it cannot answer, `detail` says why and what to do.

    misconfigured: whether it stays so until a person changes the configuration or the account.
    """

    available: bool
    detail: str = ""
    misconfigured: bool = False


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """The settings that every `[providers.<name>]` can have. Times in seconds.

    timeout: longest wait between two pieces of an answer.
    first_content_timeout: longest wait for the first piece; None means `timeout`. A class may have
        a longer default, which is for a table without a `timeout` of its own.
    total_timeout: longest time for a whole call, with its retries.
    retry_lost: whether a retry may follow a call that was lost before its first text, although the
        provider may have charged for it.
    max_concurrency: calls at once; further calls wait, and the waiting channels take turns. How
        many a provider can take depends on its kind, so most kinds have a default of their own.
    context_tokens: tokens of a prompt and its answer; `model_context_tokens` sets them per model.
    """

    timeout: Seconds = 60.0
    connect_timeout: Seconds = 10.0
    first_content_timeout: Seconds | None = None
    total_timeout: Seconds = 600.0
    default_model: str = "default"
    max_retries: Limit = 2
    retry_lost: bool = True
    max_concurrency: Count = 64
    context_tokens: Count = 8192
    model_context_tokens: Mapping[str, Count] = field(default_factory=dict)
    temperature: Temperature | None = None
    max_tokens: Count | None = None


class LLMProvider(ABC):
    """A provider of language models.

    config: the provider's table in the configuration; ValidationError if it is wrong.
    billing: whether calls cost nothing ("free"), each answer says what it costs ("reported"), or
        only a table of prices knows.
    name: the table's name ("vllm"). label: the name in error texts ("OpenAI").

    If the provider fails, a call raises `ProviderError` and nothing else. Calls share no state, can
    run at the same time, and stop at once when their task is cancelled. Retries, timeouts, limits
    on concurrency and fallback are the work of the chain, not of a provider.
    """

    kind: ClassVar[str] = "provider"
    billing: ClassVar[Billing] = "unknown"
    Config: ClassVar[type[ProviderConfig]] = ProviderConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        self.name = name or self.kind
        values = dict(config or {})
        if "timeout" in values:
            values.setdefault("first_content_timeout", values["timeout"])
        self.config = validation.read(values, self.Config, f"providers.{self.name}")

    @property
    def label(self) -> str:
        return self.name

    @property
    def max_concurrency(self) -> int:
        """How many calls it gets at once; may change once its server has said how many it takes."""
        return self.config.max_concurrency

    @abstractmethod
    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        """Return the whole answer to a prompt."""

    @abstractmethod
    async def is_available(self) -> bool:
        """Return whether the provider could answer now. Never raises; answers within seconds."""

    def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        """Yield the answer in pieces: non-empty texts, then one `Completion` with all the text.

        If no Completion comes, the answer is incomplete. To stop early, close it (`aclosing`).
        """
        return self._in_one_piece(messages, options)

    async def _in_one_piece(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        completion = await self.chat(messages, options)
        if completion.content:
            yield completion.content
        yield completion

    async def complete(self, prompt: str, options: Options) -> Completion:
        """Return a raw completion: of the prompt alone, without system prompt or conversation."""
        return await self.chat([Message("user", prompt)], options)

    async def moderate(self, text: str, model: str) -> Moderation:
        """Return a judgement of a text, for `[safety] moderation`; most providers make none."""
        raise ParameterRefused(f"{self.label} has no moderation")

    async def status(self) -> Status:
        """Return `is_available` with a reason. Never raises; answers within seconds."""
        return Status(await self.is_available())

    async def diagnose(self) -> Status:
        """Return `status` after a longer search for what is wrong, for `rosey-llm check`.

        Never raises. It may try other addresses, and at worst makes one tiny call.
        """
        return await self.status()

    async def models(self) -> list[str]:
        """Return the names of the provider's models; an empty list if it cannot list them."""
        return []

    async def start(self) -> None:
        """Prepare for calls; called before the first one. A provider can also start on demand."""

    async def aclose(self) -> None:
        """Free connections and child processes; called after the last call."""

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

    def settled(self, options: Options) -> CallSettings:
        """Return the settings of a call: those of `options`, else of the configuration.

        The temperature is 0.7 if neither sets it.
        """
        temperature = options.temperature
        if temperature is None:
            temperature = self.config.temperature
        return CallSettings(
            options.model or self.config.default_model,
            0.7 if temperature is None else temperature,
            options.max_tokens or self.config.max_tokens,
        )

    def context_tokens(self, model: str | None = None) -> int:
        """Return how many tokens a prompt and its answer may have together."""
        model = model or self.config.default_model
        return self.config.model_context_tokens.get(model, self.config.context_tokens)
