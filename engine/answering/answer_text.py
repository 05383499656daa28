"""The text of a growing answer, without the bot's name in front and within its size limit."""

from __future__ import annotations


class AnswerText:
    """A filter that takes the model's text in pieces and returns the pieces to show.

    In a channel with several speakers the prompt has lines like "alice: Hello", and models often
    begin their own answer with "Rosey: ". That name is removed, unless `bot_name` is "".

    content: all returned pieces, joined; at most `max_bytes` of UTF-8.
    full: whether text was cut off because of `max_bytes`.
    """

    def __init__(self, bot_name: str, max_bytes: int) -> None:
        self._names = (bot_name.lower(), "assistant")
        self._held = ""
        self._name_checked = not bot_name
        self._bytes_left = max_bytes
        self._parts: list[str] = []
        self.full = False

    @property
    def content(self) -> str:
        return "".join(self._parts)

    def feed(self, piece: str) -> str:
        """Return the text to show after this piece: often the piece, sometimes "" for now."""
        if self._name_checked:
            return self._append(piece)
        self._held += piece
        return "" if self._undecided() else self.finish()

    def finish(self) -> str:
        """Return the text that was held back; call it once the model has ended."""
        if self._name_checked:
            return ""
        self._name_checked = True
        text = self._held.lstrip()
        for name in self._names:
            rest = text[len(name) :].lstrip()
            if text.lower().startswith(name) and rest.startswith(":"):
                return self._append(rest[1:].lstrip())
        return self._append(self._held)

    def _undecided(self) -> bool:
        """Whether the text so far may still become a name with a colon."""
        held = self._held.lstrip().lower()
        return any(
            name.startswith(held)
            or (held.startswith(name) and held[len(name) :].strip() in ("", ":"))
            for name in self._names
        )

    def _append(self, text: str) -> str:
        size = len(text.encode())
        if size > self._bytes_left:
            self.full = True
            text = text.encode()[: self._bytes_left].decode(errors="ignore")
            size = self._bytes_left
        self._bytes_left -= size
        if text:
            self._parts.append(text)
        return text
