"""A fake provider that costs almost nothing: OpenAI's chat completions on a raw protocol.

The model's name says how it answers: `ms-200` after 200 ms, `ms-0` at once. A token stream is 10
chunks written together; `ms-0-chunks-50` writes 50, and `ms-0-chunks-50-each-10` writes one every
10 ms. The process writes `{"url": ...}` when it listens, and ends when its stdin is closed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import orjson

from tests.bench.children import run, until_stdin_closes, write_line

PIECE = "twenty bytes a piece"
CHUNKS = 10
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model":"ms-(\d+)(?:-chunks-(\d+))?(?:-each-(\d+))?"')
_CLOSE = b"\r\nconnection: close"
_USAGE = {"prompt_tokens": 600, "completion_tokens": 50, "total_tokens": 650}
_CHAT_PATH = b"POST /v1/chat/completions "
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def model(*, after_ms: int = 0, chunks: int = CHUNKS, each_ms: int = 0) -> str:
    """Return the name of the model that answers like this."""
    return f"ms-{after_ms}-chunks-{chunks}" + (f"-each-{each_ms}" if each_ms else "")


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a request that matter here."""

    latency_s: float
    chunks: int
    each_s: float
    stream: bool
    close: bool


class Connection(asyncio.Protocol):
    """A keep-alive connection, whose requests come one at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:head_end]
            length = _LENGTH.search(head)
            body_end = head_end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < body_end:
                return
            body = self._received[head_end + 4 : body_end]
            self._received = self._received[body_end:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if not head.startswith(_CHAT_PATH):
            self._transport.write(_http(b'{"data":[]}'))
            return
        asked = _read(head, body)
        if asked.latency_s:
            asyncio.get_running_loop().call_later(asked.latency_s, self._write, asked)
        else:
            self._write(asked)

    def _write(self, asked: Asked) -> None:
        if self._transport.is_closing():
            return
        if asked.stream and asked.each_s:
            self._transport.write(_STREAM_HEAD)
            self._write_next(stream(asked.chunks), 0, asked)
            return
        self._transport.write(streamed(asked.chunks) if asked.stream else whole(asked.chunks))
        self._end(asked)

    def _write_next(self, chunks: Sequence[bytes], number: int, asked: Asked) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(chunks[number])
        if number + 1 == len(chunks):
            self._end(asked)
            return
        loop = asyncio.get_running_loop()
        loop.call_later(asked.each_s, self._write_next, chunks, number + 1, asked)

    def _end(self, asked: Asked) -> None:
        if asked.close:
            self._transport.close()


def _read(head: bytes, body: bytes) -> Asked:
    # Searched, not parsed, because this process must be far faster than the engine. No message can
    # match: in a JSON string these quotes are escaped.
    named = _MODEL.search(body)
    assert named is not None, "expected a model such as ms-200"
    latency_ms, chunks, each_ms = named.groups()
    return Asked(
        int(latency_ms) / 1000,
        int(chunks or CHUNKS),
        int(each_ms or 0) / 1000,
        b'"stream":true' in body,
        _CLOSE in head.lower(),
    )


def _http(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


@lru_cache
def whole(chunks: int) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": PIECE * chunks},
        "finish_reason": "stop",
    }
    reply = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake"}
    return _http(orjson.dumps({**reply, "choices": [choice], "usage": _USAGE}))


@lru_cache
def streamed(chunks: int) -> bytes:
    return _STREAM_HEAD + b"".join(stream(chunks))


@lru_cache
def stream(chunks: int) -> tuple[bytes, ...]:
    """Return a token stream as bytes, one part per chunk; the last has the end as well."""
    texts = [orjson.dumps(_chunk({"content": PIECE})) for _ in range(chunks)]
    first = _event(orjson.dumps(_chunk({"role": "assistant", "content": ""})))
    usage = {**_chunk({}), "choices": [], "usage": _USAGE}
    last = [orjson.dumps(_chunk({}, "stop")), orjson.dumps(usage), b"[DONE]"]
    parts = [_event(text) for text in texts]
    parts[0] = first + parts[0]
    parts[-1] += b"".join(_event(each) for each in last) + b"0\r\n\r\n"
    return tuple(parts)


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    return {**chunk, "choices": [choice]}


def _event(data: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


async def main() -> None:
    loop = asyncio.get_running_loop()
    # A thousand connections may arrive at the same time.
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    write_line({"url": f"http://127.0.0.1:{port}"})
    await until_stdin_closes()
    server.close()


if __name__ == "__main__":
    run(main())
