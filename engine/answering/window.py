"""The window of one answer: the exchanges for its prompt, halved if the prompt is too long."""

from __future__ import annotations

from collections.abc import Sequence

from engine.answering.prompt_forms import EncodedExchange
from engine.answering.shortened_windows import Key, ShortenedWindows
from providers.encoded_prompt import EncodedPrompt
from providers.errors import ContextTooLong, ProviderError

SHORT_PROMPT_BYTES = 896  # about 256 tokens: too short for any model to refuse it as too long


class Window:
    """The exchanges that a prompt is made of.

    `shown` is how many of them the prompt of a call showed: only the newest fit.

    exchanges: oldest first.
    due: how often it is to be halved before the first call, since longer ones were refused.
    """

    __slots__ = ("_doubt", "_halvings", "_key", "_remembered", "_was_long", "due", "exchanges")

    def __init__(
        self, exchanges: Sequence[EncodedExchange], remembered: ShortenedWindows, key: Key
    ) -> None:
        self.exchanges = exchanges
        self.due = remembered.halvings(key)
        self._remembered = remembered
        self._key = key
        self._halvings = 0
        self._doubt: ProviderError | None = None
        self._was_long = False

    def halve(self, shown: int) -> None:
        """Keep less than half of the exchanges that the prompt showed, the newest ones."""
        keep = max(0, (shown - 1) // 2)
        self.exchanges = self.exchanges[len(self.exchanges) - keep :]
        self._halvings += 1
        self.due = max(0, self.due - 1)

    def can_shorten(self, messages: EncodedPrompt, shown: int) -> bool:
        """Return whether a refusal in doubt would be followed by a call with half the window."""
        return shown > 0 and self._doubt is None and len(messages.encoded) >= SHORT_PROMPT_BYTES

    def shorten(self, error: ProviderError, messages: EncodedPrompt, shown: int) -> None:
        """Halve the window if the error may be one of length; raise the first error if not.

        An error of length is repeated until nothing is left; one in doubt only once, since an
        answer is the proof.
        """
        if isinstance(error, ContextTooLong):
            # Once it was long, it is halved down to nothing.
            self._was_long |= len(messages.encoded) >= SHORT_PROMPT_BYTES
            again = shown > 0 and (self._was_long or not error.maybe_too_long)
        elif again := error.maybe_too_long and self.can_shorten(messages, shown):
            self._doubt = error
        if again:
            self.halve(shown)
            return
        if self._doubt is not None and error.maybe_too_long:
            self._remembered.note_refused(self._key, self._halvings)
        raise self._doubt or error

    def note_answered(self) -> None:
        if self._halvings:
            self._remembered.note_answered(self._key, self._halvings)
