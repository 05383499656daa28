"""A text that a speaker says, and which may still grow."""

from __future__ import annotations

import asyncio


class GrowingMessage:
    """A text in a room that is changed while it grows, and at last is what `finish` was given.

    - `text`: the newest text
    - `is_finished`: nothing more comes
    - `changed`: set when one of them has changed
    - `said`: set when the final text is in the room
    """

    def __init__(self) -> None:
        self.text = ""
        self.is_finished = False
        self.changed = asyncio.Event()
        self.said = asyncio.Event()

    def show(self, text: str) -> None:
        """Show this text in place of the one before, as soon as the room may be changed again."""
        if not self.is_finished:
            self.text = text
            self.changed.set()

    def finish(self, text: str | None = None) -> None:
        """Give the final text; without one the newest is final."""
        self.show(self.text if text is None else text)
        self.is_finished = True
        self.changed.set()
