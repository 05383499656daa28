"""The text of a growing answer, without speakers' labels and within its size limit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from engine.answering.sentences import SentenceLimit
from engine.answering.speaker_label import Label, Labels, NeedsMoreText
from engine.answering.speaker_lines import SpeakerLines
from engine.safety.mentions import GrowingMentions, Mentions

# Fed last: a character that Unicode has promised never to use settles what is undecided.
_END = "\uffff"


class AnswerText:
    """A filter that takes the model's text in pieces and returns the pieces to show.

    In a channel with several speakers the prompt has lines like "alice: Hello". Models often begin
    their own answer with "Rosey: ", once or more, and some go on with lines of others. The names in
    front are removed unless `bot_name` is ""; the answer ends before a line of `speakers`.

    max_chars: the answer ends with the last sentence within so many characters; None for no limit.
    mentions: those that the answer must not have as they are.
    content: all returned pieces, joined; at most `max_bytes` of UTF-8.
    finish_reason: why no more text is shown, whatever the model still writes: "length" for the size
        limit, "stop" for another speaker's line; None if more may come.
    writer: the provider and the model that write it; "" as long as that is not known.
    """

    def __init__(
        self,
        bot_name: str,
        max_bytes: int,
        speakers: Iterable[str] = (),
        max_chars: int | None = None,
        mentions: Mentions | None = None,
    ) -> None:
        self._labels = _labels(bot_name)
        self._held = ""
        self._kept = ""
        self._is_labelled = False
        self._label_checked = not bot_name
        speakers = tuple(speakers)
        self._lines = SpeakerLines(speakers) if speakers else None
        self._mentions = GrowingMentions(mentions) if mentions is not None else None
        self._sentences = SentenceLimit(max_chars) if max_chars is not None else None
        self._bytes_left = max_bytes
        self._parts: list[str] = []
        self.finish_reason: str | None = None
        self.writer = ("", "")

    @property
    def content(self) -> str:
        return "".join(self._parts)

    def feed(self, piece: str) -> str:
        """Return the text to show after this piece: often the piece, sometimes "" for now."""
        if not self._label_checked:
            piece = self._without_labels(piece)
        if self._lines is not None and piece:
            piece = self._within_lines(self._lines, piece)
        if self._sentences is None and self._mentions is None:
            return self._keep(piece)
        return self._append(piece)

    def finish(self) -> str:
        """Return the text that was held back; call it once the model has ended."""
        shown = ""
        if not self._label_checked or self._lines is not None:
            text = _END if self._label_checked else self._without_labels(_END)
            if self._lines is not None:
                text = self._within_lines(self._lines, text)
            shown = self._append(text.removesuffix(_END))
        if self._mentions is not None:
            shown += self._limited(self._mentions.finish())
        return shown if self._sentences is None else shown + self._keep(self._sentences.finish())

    def _within_lines(self, lines: SpeakerLines, piece: str) -> str:
        """Return the text before another speaker's line."""
        text = lines.feed(piece)
        if lines.ended:
            self.finish_reason = "stop"
        return text

    def _without_labels(self, piece: str) -> str:
        """Return the text after the names in front; "" while the text may still become a name."""
        self._held += piece
        try:
            while label := self._next_label():
                self._held, self._kept = self._held[label.end :], label.kept
                self._is_labelled = True
        except NeedsMoreText:
            return ""
        self._label_checked = True
        return self._held if self._held == _END else self._kept + self._held

    def _next_label(self) -> Label | None:
        if self._is_labelled:
            self._held = self._held.lstrip()
        return self._labels.at_start(self._held)

    def _append(self, text: str) -> str:
        """Return the part of the text that is shown now, and keep it."""
        return self._limited(text if self._mentions is None else self._mentions.feed(text))

    def _limited(self, text: str) -> str:
        if self._sentences is not None:
            text = self._sentences.feed(text)
            if self._sentences.ended:
                self.finish_reason = "length"
        return self._keep(text)

    def _keep(self, text: str) -> str:
        size = len(text) if text.isascii() else len(text.encode())
        if size > self._bytes_left:
            self.finish_reason = "length"
            text = text.encode()[: self._bytes_left].decode(errors="ignore")
            size = self._bytes_left
        self._bytes_left -= size
        if text:
            self._parts.append(text)
        return text


@lru_cache(maxsize=64)
def _labels(bot_name: str) -> Labels:
    return Labels((bot_name, "assistant") if bot_name else (), lenient=True)
