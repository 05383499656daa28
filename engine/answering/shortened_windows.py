"""Remembers which channels get a shorter window, since their longer prompts were refused."""

from __future__ import annotations

MOST_CHANNELS = 1024
MOST_HALVINGS = 8

Key = tuple[str, str, str]
"""A channel, a provider, and a model that was asked for; "" for the provider's own."""


class ShortenedWindows:
    """How often the window of a channel is halved before the first call for a message.

    Without it, a channel would stay stuck: its history does not shrink by messages that fail. A
    provider's refusal that does not say that the prompt is too long is repeated only once, with
    half the window; if that fails too, the next message starts with a quarter. Each answer lets
    the window grow again.
    """

    def __init__(self) -> None:
        self._halvings: dict[Key, int] = {}

    def halvings(self, key: Key) -> int:
        return self._halvings.get(key, 0)

    def note_refused(self, key: Key, halvings: int) -> None:
        """Note that a window halved so often was still refused."""
        self._halvings.pop(key, None)
        self._halvings[key] = min(halvings + 1, MOST_HALVINGS)
        if len(self._halvings) > MOST_CHANNELS:
            del self._halvings[next(iter(self._halvings))]

    def note_answered(self, key: Key, halvings: int) -> None:
        """Note that a window halved so often was answered."""
        if halvings > 1:
            self._halvings[key] = halvings - 1
        else:
            self._halvings.pop(key, None)
