"""What a chat says at its beginning and at its end: to whom one talks, and where it is kept."""

from __future__ import annotations

import asyncio
import importlib.util
import shlex
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from engine.actors.conversation import Conversation
from engine.commands import parser
from engine.config import globs
from engine.config.allowed_models import DEFAULT
from engine.config.settings import Settings
from engine.interfaces.program_name import program
from providers import registry
from providers.http.provider import HttpProvider
from storage import history
from storage.errors import StorageError
from storage.queries import channels
from storage.queries.reader import reading

LOOK_S = 2.0
LEAVING = ("exit", "quit")
WELCOME = "Talk to me. Ctrl-C stops an answer, Ctrl-D or exit leaves, help tells more."
KEYS = (
    "Here you may leave out !chat. Tab completes, Alt-Enter begins a new line, Up brings back what "
    "you typed."
)
TOY = (
    "You talk to the embedded model: a toy of 135 million parameters, whose answers are poor. For "
    "good ones, install Ollama (https://ollama.com) and run `ollama pull llama3.2`; or set "
    'OPENAI_API_KEY, and default_provider = "openai" in rosey-llm.toml.'
)


async def toy_answers(settings: Settings) -> bool:
    """Return whether the first provider that is there is the embedded model with its own weights.

    False if that cannot be found out within `LOOK_S`: only servers are asked, by a probe.
    """
    tables = {name: settings.provider_table(name) for name in settings.provider_names}
    kinds = {name: table.get("kind", name) for name, table in tables.items()}
    if "local" not in kinds.values():
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            for name, table in tables.items():
                if kinds[name] == "local":
                    return not table.get("model_path")
                if not await _is_down(name, table):
                    return False
    return False


async def _is_down(name: str, table: Mapping[str, Any]) -> bool:
    async with AsyncExitStack() as stack:
        provider = registry.build(name, table)
        stack.push_async_callback(provider.aclose)
        return isinstance(provider, HttpProvider) and not await provider.is_available()


def messages_so_far(settings: Settings, channel: str) -> int:
    """Return how many messages of the channel's conversation the model will be shown.

    0 if its database is not on this machine.
    """
    window = settings.window_of(channel)
    conversation = Conversation(window)
    with suppress(StorageError), reading(Path(settings.storage.path)) as connection:
        channel_id = channels.find(connection, channel)
        if channel_id is not None:
            rows = history.tail(connection, channel_id, 0, window)
            conversation.replay(rows)
    return conversation.messages


def words(settings: Settings) -> list[str]:
    """Return the lines that are commands, for completion."""
    personas = (f"persona {name}" for name in settings.personas)
    names = (*settings.models.allow, DEFAULT)
    models = (f"model {name}" for name in names if globs.is_exact(name))
    commands = [*parser.WORDS, "stop all", *personas, *models]
    return [*commands, *(f"!chat {command}" for command in commands), *LEAVING]


def carried_on(messages: int, channel: str) -> str:
    return (
        f'This goes on with the last {messages} messages of the channel "{channel}" '
        "(--new begins again)."
    )


def farewell(channel: str, options: str) -> str:
    """Return how to look at what was said; `options` name the configuration for the shell."""
    if importlib.util.find_spec("datasette") is not None:
        return f"What was said, and what the model was shown: {program()} audit{options} --open"
    return f"What was said: {program()} history show {shlex.quote(channel)}{options}"
