"""What bot authors use instead of this engine, each a small file, and what all of them are given.

A file has `open_turns(url, database)`, which yields a function that answers a message of a channel.
It follows its library's own documents. The files `call_...` only call a provider, without a store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Turn = Callable[[str, str, str], Awaitable[str]]  # channel, text, model; returns the answer

SYSTEM = "You are a friendly bot in a chat room. Answer in a few short sentences. " * 3
WINDOW = 9  # messages that the model is shown: four exchanges, as the engine does, and the new one
TEXT = "m" * 200
# What a `call_...` sends each time.
PROMPT: list[Any] = [
    {"role": role, "content": SYSTEM if role == "system" else TEXT}
    for role in ["system", *["user", "assistant"] * WINDOW][: WINDOW + 1]
]
