"""The prompt: the persona's system prompt, the newest exchanges that fit, and the new message."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from providers.encoded_prompt import EncodedPrompt

EncodedExchange = tuple[bytes, bytes, bytes]
"""A message and its answer for a prompt: (username, message, answer), each as a JSON string."""

SYSTEM = b'{"role":"system","content":'
USER = b'{"role":"user","content":'
ASSISTANT = b'{"role":"assistant","content":'
# A token has 3 to 5 bytes, and each message costs about 4 tokens more. This careful estimate needs
# no tables, which exact counters download from the network.
BYTES_PER_TOKEN = 3.5
MESSAGE_OVERHEAD_BYTES = 12  # the two quotes of the JSON string count as well
# hashlib releases the interpreter's lock for pieces of 2 KiB and more. The writer thread would take
# it, and the event loop would wait for it longer than the hash takes.
HASH_CHUNK_BYTES = 2047


def build(
    system: str,
    exchanges: Sequence[EncodedExchange],
    username: str,
    text: str,
    *,
    max_messages: int,
    budget_tokens: int,
) -> EncodedPrompt:
    """Return the prompt: system prompt, the newest exchanges that fit, the new message `text`.

    It has at most `max_messages` messages (the new one counts, the system prompt does not) and
    about `budget_tokens` tokens. Exchanges are kept whole; the new message is always there. If more
    than one user speaks in the prompt, each user message begins with the speaker's name.
    """
    system_json, text_json = orjson.dumps(system), orjson.dumps(text)
    room_bytes = budget_tokens * BYTES_PER_TOKEN - _size_bytes(system_json, text_json)
    kept = _newest_fitting(exchanges, max_messages - 1, room_bytes)
    several = several_speak(kept, username)
    parts = [SYSTEM, system_json, b"},"] if system else []
    for speaker, message, answer in kept:
        user_json = _with_name(orjson.loads(speaker), message) if several else message
        parts += USER, user_json, b"},", ASSISTANT, answer, b"},"
    user_json = _with_name(username, text_json) if several else text_json
    parts += USER, user_json, b"}"
    return EncodedPrompt(b"[%b]" % b"".join(parts), bool(system) + 2 * len(kept) + 1)


def several_speak(exchanges: Sequence[EncodedExchange], username: str) -> bool:
    """Return whether a user other than `username` speaks in these exchanges."""
    name = orjson.dumps(username)
    for speaker, _, _ in exchanges:  # noqa: SIM110 - twice as fast as any()
        if speaker != name:
            return True
    return False


def digest(prompt: EncodedPrompt) -> str:
    """Return the digest of a prompt for the history: SHA-256 of its JSON, in hexadecimal digits."""
    data, hasher = prompt.encoded, hashlib.sha256()
    for start in range(0, len(data), HASH_CHUNK_BYTES):
        hasher.update(data[start : start + HASH_CHUNK_BYTES])
    return hasher.hexdigest()


def _size_bytes(one: bytes, other: bytes) -> int:
    """Return how many bytes of the budget two messages take; both are JSON strings."""
    return len(one) + len(other) + 2 * MESSAGE_OVERHEAD_BYTES


def _newest_fitting(
    exchanges: Sequence[EncodedExchange], room_messages: int, room_bytes: float
) -> list[EncodedExchange]:
    """Return the newest exchanges that fit into so many messages and bytes, oldest first."""
    kept: list[EncodedExchange] = []
    for exchange in reversed(exchanges):
        _, message, answer = exchange
        room_messages -= 2
        room_bytes -= _size_bytes(message, answer)
        if room_messages < 0 or room_bytes < 0:
            break
        kept.append(exchange)
    kept.reverse()
    return kept


def _with_name(username: str, text: bytes) -> bytes:
    """Return a text's JSON string with the speaker's name in front of the text."""
    name = orjson.dumps(f"{' '.join(username.split())[:64]}: ")
    return name[:-1] + text[1:]
