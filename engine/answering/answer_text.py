"""The growing answer: without the bot's name in front, and never over its limit."""

from __future__ import annotations


class AnswerText:
    """Takes the model's text piece by piece and gives out what may be shown.

    What it has given out, joined, is always `content`. In a room of several speakers a model is
    shown "alice: Hello" and often begins its own answer "Rosey: ..."; that beginning is cut off.
    Without a bot name nothing is.
    """

    def __init__(self, bot_name: str, max_bytes: int) -> None:
        self._names = (bot_name.lower(), "assistant")
        self._held = ""
        self._begun = not bot_name
        self._room_bytes = max_bytes
        self._parts: list[str] = []
        self.full = False

    @property
    def content(self) -> str:
        return "".join(self._parts)

    def feed(self, piece: str) -> str:
        """What `piece` adds to what may be shown; often all of it, sometimes nothing yet."""
        if self._begun:
            return self._give(piece)
        self._held += piece
        return "" if self._undecided() else self.finish()

    def finish(self) -> str:
        """What was held back until now; call once the model has ended."""
        if self._begun:
            return ""
        self._begun = True
        begins = self._held.lstrip()
        for name in self._names:
            rest = begins[len(name) :].lstrip()
            if begins.lower().startswith(name) and rest.startswith(":"):
                return self._give(rest[1:].lstrip())
        return self._give(self._held)

    def _undecided(self) -> bool:
        held = self._held.lstrip().lower()
        return any(
            name.startswith(held)
            or (held.startswith(name) and held[len(name) :].strip() in ("", ":"))
            for name in self._names
        )

    def _give(self, text: str) -> str:
        size = len(text.encode())
        if size > self._room_bytes:
            self.full = True
            text = text.encode()[: self._room_bytes].decode(errors="ignore")
            size = self._room_bytes
        self._room_bytes -= size
        if text:
            self._parts.append(text)
        return text
