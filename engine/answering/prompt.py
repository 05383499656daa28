"""The prompt: the persona's system prompt, the newest exchanges that fit, and the new message."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from engine.answering import prompt_forms
from engine.answering.prompt_forms import EncodedExchange, PromptParts
from engine.answering.token_rates import TokenRates
from providers.encoded_prompt import EncodedPrompt

# hashlib releases the interpreter's lock for pieces of 2 KiB and more. The writer thread would take
# it, and the event loop would wait for it longer than the hash takes.
HASH_CHUNK_BYTES = 2047
USUAL_RATES = TokenRates()


class BuiltPrompt(NamedTuple):
    """A prompt for a provider.

    exchanges: the number of earlier pairs of message and answer in it.
    speakers: the users' names as they stand in it; () if only one speaks, who is not named then.
    """

    messages: EncodedPrompt
    exchanges: int
    speakers: tuple[str, ...]


def build(
    system: str,
    exchanges: Sequence[EncodedExchange],
    username: str,
    text: str,
    *,
    max_messages: int,
    budget_tokens: int,
    rates: TokenRates = USUAL_RATES,
) -> BuiltPrompt:
    """Return the prompt: system prompt, the newest exchanges that fit, the new message `text`.

    It has at most `max_messages` messages (the new one counts, the system prompt does not) and
    about `budget_tokens` tokens, estimated with the model's `rates`. Exchanges are kept whole; the
    new message is always there. If more than one user speaks in the prompt, each user message
    begins with the speaker's name.
    """
    room_tokens = budget_tokens - rates.of_pair(orjson.dumps(system), orjson.dumps(text))
    kept = _newest_fitting(exchanges, max_messages - 1, room_tokens, rates)
    messages = prompt_forms.render(PromptParts(system, kept, username, text))
    return BuiltPrompt(messages, len(kept), _speakers(kept, username))


def digest(prompt: EncodedPrompt, salt: bytes | None) -> str:
    """Return the digest of a prompt for the history, in hexadecimal digits.

    It is the HMAC-SHA256 of its JSON with the salt as the key: without the salt, a text in it
    cannot be guessed by trying. Older versions had no salt, and took the SHA-256.
    """
    data = prompt.encoded
    hasher = hashlib.sha256() if salt is None else hmac.new(salt, digestmod="sha256")
    for start in range(0, len(data), HASH_CHUNK_BYTES):
        hasher.update(data[start : start + HASH_CHUNK_BYTES])
    return hasher.hexdigest()


def _speakers(exchanges: Sequence[EncodedExchange], username: str) -> tuple[str, ...]:
    if not prompt_forms.several_speak(exchanges, username):
        return ()
    names = [username, *map(orjson.loads, {speaker for speaker, _, _ in exchanges})]
    return tuple({prompt_forms.shown_name(name) for name in names})


def _newest_fitting(
    exchanges: Sequence[EncodedExchange],
    room_messages: int,
    room_tokens: float,
    rates: TokenRates,
) -> list[EncodedExchange]:
    """Return the newest exchanges that fit into so many messages and tokens, oldest first."""
    newest = exchanges[max(0, len(exchanges) - max(0, room_messages) // 2) :]
    size_bytes = 0
    for _, message, answer in newest:
        size_bytes += len(message) + len(answer)
    if rates.at_most(size_bytes, 2 * len(newest)) <= room_tokens:
        return list(newest)
    kept: list[EncodedExchange] = []
    for exchange in reversed(exchanges):
        _, message, answer = exchange
        room_messages -= 2
        room_tokens -= rates.of_pair(message, answer)
        if room_messages < 0 or room_tokens < 0:
            break
        kept.append(exchange)
    kept.reverse()
    return kept
