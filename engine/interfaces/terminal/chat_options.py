"""What the user of `rosey-llm chat` asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.interfaces.terminal import line_input


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """The options of a chat.

    - `channel`: None for the shared one, or, if no person converses, for a new one
    - `text`: the only question; "" if there is none
    - `whole`: the input is one question, after `text` if there is one
    - `new`: the conversation begins again
    - `config`: the file that a service which is started here reloads
    """

    user: str
    channel: str | None = None
    text: str = ""
    whole: bool = False
    new: bool = False
    config: Path | None = None

    @property
    def asks_once(self) -> bool:
        return bool(self.text) or self.whole

    @property
    def is_conversation(self) -> bool:
        """Whether a person is at the terminal, and asks more than once."""
        return not self.asks_once and line_input.is_interactive()


def has_cursor() -> bool:
    """Return whether the terminal can move its cursor."""
    return os.environ.get("TERM", "dumb") != "dumb"
