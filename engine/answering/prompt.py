"""The prompt: the persona's system prompt and the newest messages that fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from providers.encoded_prompt import EncodedPrompt

EncodedExchange = tuple[bytes, bytes, bytes]
"""An exchange as a prompt needs it: username, message and answer, each a JSON string."""

SYSTEM = b'{"role":"system","content":'
USER = b'{"role":"user","content":'
ASSISTANT = b'{"role":"assistant","content":'
# Real counts lie between 3 and 5 bytes a token, and 4 tokens or so more for each message. An
# estimate on the safe side needs no tables, which the exact counters load from the network.
BYTES_PER_TOKEN = 3.5
MESSAGE_OVERHEAD_BYTES = 12  # and the quotes of its JSON string are two more
# Pieces of 2 KiB and more are hashed without the interpreter's lock: the writer thread would take
# it, and the event loop would wait for it longer than the hash takes.
HASHED_BYTES = 2047


def build(
    system: str,
    exchanges: Sequence[EncodedExchange],
    username: str,
    text: str,
    *,
    max_messages: int,
    budget_tokens: int,
) -> EncodedPrompt:
    """System prompt, then whole exchanges, newest kept first, then the new message.

    At most `max_messages` messages beside the system prompt, the new one counted, and about
    `budget_tokens` tokens in all. The new message is always there. Where more than one person
    speaks in what is shown, messages carry the speaker's name.
    """
    told, asked = orjson.dumps(system), orjson.dumps(text)
    room_bytes = budget_tokens * BYTES_PER_TOKEN - _weight(told, asked)
    kept = _fitting(exchanges, max_messages - 1, room_bytes)
    several = several_speak(kept, username)
    parts = [SYSTEM, told, b"},"] if system else []
    for speaker, message, answer in kept:
        said = _named(orjson.loads(speaker), message) if several else message
        parts += USER, said, b"},", ASSISTANT, answer, b"},"
    said = _named(username, asked) if several else asked
    parts += USER, said, b"}"
    return EncodedPrompt(b"[%b]" % b"".join(parts), bool(system) + 2 * len(kept) + 1)


def several_speak(exchanges: Sequence[EncodedExchange], username: str) -> bool:
    """Whether somebody else than this user speaks in these exchanges."""
    name = orjson.dumps(username)
    for speaker, _, _ in exchanges:  # noqa: SIM110 - twice as fast as any()
        if speaker != name:
            return True
    return False


def digest(prompt: EncodedPrompt) -> str:
    """By which history knows a prompt: SHA-256 of its JSON, in hexadecimal digits."""
    data, found = prompt.encoded, hashlib.sha256()
    for start in range(0, len(data), HASHED_BYTES):
        found.update(data[start : start + HASHED_BYTES])
    return found.hexdigest()


def _weight(one: bytes, other: bytes) -> int:
    """Bytes that count against the budget: of two messages, whose JSON strings these are."""
    return len(one) + len(other) + 2 * MESSAGE_OVERHEAD_BYTES


def _fitting(
    exchanges: Sequence[EncodedExchange], room_messages: int, room_bytes: float
) -> list[EncodedExchange]:
    kept: list[EncodedExchange] = []
    for exchange in reversed(exchanges):
        _, message, answer = exchange
        room_messages -= 2
        room_bytes -= _weight(message, answer)
        if room_messages < 0 or room_bytes < 0:
            break
        kept.append(exchange)
    kept.reverse()
    return kept


def _named(username: str, text: bytes) -> bytes:
    """JSON of a text with its speaker's name in front of it."""
    name = orjson.dumps(f"{' '.join(username.split())[:64]}: ")
    return name[:-1] + text[1:]
