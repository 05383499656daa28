"""The prompt: the persona's system prompt and the newest messages that fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from engine.actors.conversation import Exchange
from providers.base import Message

MESSAGE_OVERHEAD_TOKENS = 4
BYTES_PER_TOKEN = 3.5
# Pieces of 2 KiB and more are hashed without the interpreter's lock: the writer thread would take
# it, and the event loop would wait for it longer than the hash takes.
HASHED_BYTES = 2047


def build(
    system: str,
    exchanges: Sequence[Exchange],
    username: str,
    text: str,
    *,
    max_messages: int,
    budget_tokens: int,
) -> list[Message]:
    """System prompt, then whole exchanges, newest kept first, then the new message.

    At most `max_messages` messages beside the system prompt, the new one counted, and about
    `budget_tokens` tokens in all. The new message is always there. Where more than one person
    speaks in what is shown, messages carry the speaker's name.
    """
    kept = _fitting(system, exchanges, text, max_messages, budget_tokens)
    named = len({username, *(exchange.username for exchange in kept)}) > 1
    messages = [Message("system", system)] if system else []
    for exchange in kept:
        messages.append(Message("user", _said(exchange.username, exchange.message, named)))
        messages.append(Message("assistant", exchange.answer))
    messages.append(Message("user", _said(username, text, named)))
    return messages


def digest(messages: Sequence[Message]) -> str:
    """By which history knows a prompt: SHA-256 of its JSON, in hexadecimal digits."""
    data, found = orjson.dumps(messages), hashlib.sha256()
    for start in range(0, len(data), HASHED_BYTES):
        found.update(data[start : start + HASHED_BYTES])
    return found.hexdigest()


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: real counts lie between 3 and 5 bytes a token.

    An estimate on the safe side needs no tables, which the exact counters load from the network.
    """
    return int(len(text.encode()) / BYTES_PER_TOKEN) + MESSAGE_OVERHEAD_TOKENS


def _fitting(
    system: str, exchanges: Sequence[Exchange], text: str, max_messages: int, budget_tokens: int
) -> list[Exchange]:
    room_messages = max_messages - 1
    room_tokens = budget_tokens - estimated_tokens(system) - estimated_tokens(text)
    kept: list[Exchange] = []
    for exchange in reversed(exchanges):
        room_messages -= 2
        room_tokens -= estimated_tokens(exchange.message) + estimated_tokens(exchange.answer)
        if room_messages < 0 or room_tokens < 0:
            break
        kept.append(exchange)
    kept.reverse()
    return kept


def _said(username: str, text: str, named: bool) -> str:
    return f"{' '.join(username.split())[:64]}: {text}" if named else text
