"""The hash chain over a channel's history; it reveals changed, removed and inserted rows.

    private  SHA-256 of a row's salt, username, content and, if it has any, personal facts
    digest   SHA-256 of the digest of the row before, `private`, and the row's facts (FACTS)

The first row of a channel follows the digest of the channel's name. An erased row loses salt,
username, content and personal facts and keeps `private`, so that the chain still holds; without the
salt, the text cannot be guessed by trying words.
"""

from __future__ import annotations

import hashlib
import os

import orjson

SALT_BYTES = 16
FACTS = (
    "seq",
    "ts_ms",
    "kind",
    "request_id",
    "persona",
    "provider",
    "model",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "latency_ms",
    "code",
    "details",
)
Fact = str | int | None
# A system call for random bytes gives the interpreter's lock to another thread, such as the writer.
SALTS_AT_ONCE = 256
_unused_salts: list[bytes] = []


def new_salt() -> bytes:
    while True:
        try:
            return _unused_salts.pop()
        except IndexError:
            salts = os.urandom(SALT_BYTES * SALTS_AT_ONCE)
            _unused_salts.extend(
                salts[begin : begin + SALT_BYTES] for begin in range(0, len(salts), SALT_BYTES)
            )


def new_salts(count: int) -> list[bytes]:
    return [new_salt() for _ in range(count)]


def of_channel(name: str) -> bytes:
    """Return the digest that the first row of a channel follows."""
    return hashlib.sha256(b"channel " + name.encode()).digest()


def of_private(
    salt: bytes, username: str | None, content: str, personal: str | None = None
) -> bytes:
    private = (username, content) if personal is None else (username, content, personal)
    return hashlib.sha256(salt + orjson.dumps(private)).digest()


def of_row(previous: bytes, private: bytes, facts: tuple[Fact, ...]) -> bytes:
    """Return the digest of a row; `facts` are in the order of FACTS, as stored."""
    return hashlib.sha256(previous + private + orjson.dumps(facts)).digest()
