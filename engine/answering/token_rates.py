"""The estimate of how many tokens a prompt takes, corrected by what a model's server counts.

Exact counters download tables from the network, and there is one for each model. A tokenizer of
bytes, which nearly all models have, takes at most one token for a byte. For ASCII text it takes one
for 3.5 bytes or more; for other scripts that differs from model to model: a Burmese text takes a
token a byte with one model, a fifth of that with another. So the estimate begins with the highest
number, and each answer whose server counted the prompt brings it closer to the truth. The figures
are in docs/performance.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from providers.encoded_prompt import EncodedPrompt

ASCII = bytes(range(128))
# Each message costs about 4 tokens more; the two quotes of its JSON string count as well.
MESSAGE_OVERHEAD_BYTES = 12
# How much more a message has in the JSON of a prompt: {"role":"user","content":}, and a comma.
_JSON_OVERHEAD_BYTES = 27 - MESSAGE_OVERHEAD_BYTES
USUAL_ASCII = 1 / 3.5
ASCII_BOUNDS = (USUAL_ASCII / 2, 1.0)
OTHER_BOUNDS = (0.1, 1.0)
# What a chat template adds hides the rate of a shorter prompt, which fits in any case.
SHORTEST_TOKENS = 256
# A server that counts less has counted only what was not in its cache, or has cut the prompt.
LOWEST_RATIO = 0.05
# Too low an estimate costs an answer, too high a one a little of the bot's memory.
UPWARD, DOWNWARD = 0.5, 0.2
MOST_MODELS = 256


@dataclass(slots=True)
class TokenRates:
    """The tokens that one model takes for an ASCII byte, and for any other byte, of JSON."""

    ascii: float = USUAL_ASCII
    other: float = OTHER_BOUNDS[1]

    def of_pair(self, one: bytes, other: bytes) -> float:
        """Return about how many tokens two messages take; each text is a JSON string."""
        size = len(one) + len(other) + 2 * MESSAGE_OVERHEAD_BYTES
        if one.isascii() and other.isascii():  # looks at eight bytes at a time
            return size * self.ascii
        others = _other_bytes(one) + _other_bytes(other)
        return (size - others) * self.ascii + others * self.other

    def of_prompt(self, prompt: EncodedPrompt) -> int:
        """Return about how many tokens a prompt takes."""
        size, others = len(prompt.encoded), _other_bytes(prompt.encoded)
        ascii_bytes = size - others - len(prompt) * _JSON_OVERHEAD_BYTES
        return round(ascii_bytes * self.ascii + others * self.other)

    def of_text(self, text: str) -> int:
        """Return about how many tokens a text takes."""
        encoded = text.encode(errors="replace")
        others = _other_bytes(encoded)
        return round((len(encoded) - others) * self.ascii + others * self.other)

    def at_most(self, size_bytes: int, messages: int) -> float:
        """Return the most tokens that messages of this size can take, whatever is in them."""
        size_bytes += messages * MESSAGE_OVERHEAD_BYTES
        return size_bytes * max(self.ascii, self.other)

    def learn(self, prompt: EncodedPrompt, counted_tokens: int, *, at_least: bool = False) -> None:
        """Correct the rates by what the server counted for a prompt. Takes the time of a read.

        at_least: whether the prompt has these tokens or more.
        """
        data = prompt.encoded
        others = _other_bytes(data)
        ascii_tokens = (len(data) - others - len(prompt) * _JSON_OVERHEAD_BYTES) * self.ascii
        other_tokens = others * self.other
        estimate = ascii_tokens + other_tokens
        ratio = counted_tokens / estimate
        if estimate < SHORTEST_TOKENS or ratio < (1 if at_least else LOWEST_RATIO):
            return
        step = (ratio - 1) * (UPWARD if ratio > 1 else DOWNWARD)
        # Each rate moves as far as its bytes had a share in the error.
        self.ascii = _within(self.ascii * (1 + step * ascii_tokens / estimate), ASCII_BOUNDS)
        self.other = _within(self.other * (1 + step * other_tokens / estimate), OTHER_BOUNDS)


@dataclass(slots=True)
class RatesByModel:
    """The rates by provider and model, in memory only; the oldest go first."""

    _rates: dict[tuple[str, str], TokenRates] = field(default_factory=dict)

    def of(self, provider: str, model: str) -> TokenRates:
        """Return the rates of a model, for reading."""
        return self._rates.get((provider, model)) or TokenRates()

    def learn(
        self,
        provider: str,
        model: str,
        prompt: EncodedPrompt,
        counted_tokens: int,
        *,
        at_least: bool = False,
    ) -> None:
        """Do `learn` for the rates of this model."""
        if (rates := self._rates.get((provider, model))) is None:
            if len(self._rates) >= MOST_MODELS:
                del self._rates[next(iter(self._rates))]
            rates = self._rates[provider, model] = TokenRates()
        rates.learn(prompt, counted_tokens, at_least=at_least)


def _other_bytes(text: bytes) -> int:
    return 0 if text.isascii() else len(text.translate(None, ASCII))


def _within(value: float, bounds: tuple[float, float]) -> float:
    lowest, highest = bounds
    return lowest if value < lowest else min(value, highest)
