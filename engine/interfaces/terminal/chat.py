"""`rosey-llm chat`: a conversation in the terminal, or answers to a pipe or to one question."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid

from engine.config.settings import Settings
from engine.errors import EXIT_INTERRUPTED
from engine.interfaces.terminal import greeting, line_input, word_wrap
from engine.interfaces.terminal.chat_options import ChatOptions
from engine.interfaces.terminal.dialogue import Dialogue
from engine.interfaces.terminal.service_search import ServiceSearch
from engine.interfaces.terminal.type_ahead import TypeAhead

SHARED_CHANNEL = "terminal"


async def chat(
    settings: Settings,
    options: ChatOptions,
    type_ahead: TypeAhead | None = None,
    config_option: str = "",
) -> int:
    """Converse until the input ends. Return the exit code.

    0 if every question was answered, or if a person conversed; 1 if not; 130 if Ctrl-C ended it. A
    service that was started for this chat is drained on return.

    - `type_ahead`: has the terminal of a person until this chat ends
    - `config_option`: names the configuration in commands that are shown to a person
    """
    line_input.tolerate_odd_bytes()
    channel = options.channel
    if channel is None:
        channel = SHARED_CHANNEL if options.is_conversation else _new_channel()
    search = ServiceSearch(settings, options.config)
    dialogue = Dialogue(search.client, settings, channel, options, type_ahead)
    code = await _until_the_end(dialogue)
    if options.is_conversation and code == 0:
        farewell = greeting.farewell(channel, config_option)
        sys.stdout.write(word_wrap.filled(farewell, word_wrap.columns()) + "\n")
    return code


def _new_channel() -> str:
    return f"{SHARED_CHANNEL}-{uuid.uuid4().hex[:8]}"


async def _until_the_end(dialogue: Dialogue) -> int:
    talking = asyncio.create_task(dialogue.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, _on_interrupt, dialogue, talking)
    try:
        return await talking
    except asyncio.CancelledError:
        if not dialogue.leaving:
            raise
        return EXIT_INTERRUPTED
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _on_interrupt(dialogue: Dialogue, talking: asyncio.Task[int]) -> None:
    """On Ctrl-C, stop the answer or leave; while leaving, warn once, then exit at once."""
    if dialogue.warned:
        os._exit(EXIT_INTERRUPTED)
    elif dialogue.leaving:
        dialogue.warned = True
        sys.stderr.write("Finishing running answers; press Ctrl-C again to exit at once.\n")
    elif dialogue.listening:
        dialogue.interrupt()
    else:
        dialogue.warned = True
        dialogue.leave()
        talking.cancel()
